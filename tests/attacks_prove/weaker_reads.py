"""What a server would let others read without the defences of its reads."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any


def anybody(*_: object, **__: object) -> bool:
    """For `Residents.is_joined`, `can_see` and `_is_open`."""
    return True


def every_event(store: object, room: object, rows: Sequence[Any]) -> Collection[int]:
    """For `whole_for_server`."""
    return {row.number for row in rows}


def event_of_any_room(store: Any, server: str, room_id: str, event_id: str) -> Any:
    """For `_served_event`."""
    from homeserver.services.server_access import served_room  # not before the switch is turned

    return served_room(store, server, room_id), store.graph.find(event_id)


def walk_any_room(graph: Any, room: int, latest: Sequence[str], limit: int, **_: object) -> list[int]:
    """For `Graph.walk_backwards`."""
    rows = graph._transaction.text("SELECT number FROM events WHERE event_id = ANY(%s)", list(latest))
    behind = "SELECT unnest(prev) FROM events WHERE event_id = ANY(%s) LIMIT %s"
    return [row[0] for row in rows + graph._transaction.text(behind, list(latest), limit)]


def level_by_level(graph: Any, room: int, numbers: Iterable[int], limit: int) -> list[int]:
    """For `Graph.walk_auth_chain`."""
    found: dict[int, None] = {}
    level = list(numbers)
    while level and len(found) < limit:
        rows = graph._transaction.text("SELECT unnest(auth) FROM events WHERE number = ANY(%s)", level)
        level = [number for number in dict.fromkeys(row[0] for row in rows) if number not in found]
        found.update(dict.fromkeys(level))
    return list(found)[:limit]
