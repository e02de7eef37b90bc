"""What a server without the defence would do: the obvious code that the attack is made for."""

import gzip
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any


def plain_json_loads(body: bytes, strict: bool, **bounds: int) -> Any:
    """For `parse_json`."""
    return json.loads(body)


def plain_int(request: Any, name: str, default: Any, minimum: int = 0, maximum: int = 0) -> Any:
    """For `Request.integer`."""
    value = request.text(name)
    return default if value is None else int(value)


def unchecked_json(value: object, strict: bool) -> bytes:
    """For `checked_json`."""
    return b"{}"


def canonical_text(value: object) -> str:
    """For `kept_json`."""
    return json.dumps(value)


def endless_depth(version: object) -> float:
    """For `max_depth`."""
    return float("inf")


def gzipped(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    """For `json_answer`."""
    from homeserver.http.answers import Answer  # not before the switch is turned

    body = gzip.compress(json.dumps(content).encode())
    return Answer(status, body, headers={**(headers or {}), "Content-Encoding": "gzip"})


def recursive_order(ids: Collection[str], events: Mapping[str, Any], rank: Callable[[Any], Any]) -> list[str]:
    """For `topological_order`."""
    ordered: dict[str, None] = {}

    def visit(event_id: str) -> None:
        for cited in events[event_id].auth_events:
            if cited in ids and cited not in ordered:
                visit(cited)
        ordered[event_id] = None

    for event_id in sorted(ids, key=lambda one: rank(events[one]), reverse=True):
        visit(event_id)
    return list(ordered)


def sent_for_the_first_time(rooms: Any, room_id: str, txn_id: str, *sent: str) -> tuple[Any, None]:
    """For `Rooms.lock_for`: looks at the transaction id, and for nothing that was sent with it."""
    rooms._transaction.text("SELECT %s", txn_id)
    return rooms.lock(room_id), None


def unchanged(error: BaseException) -> BaseException:
    """For `_gave_up`: what the database raises goes on as it is."""
    return error


def believe_anything(throttle: object, state: int | None, now_ms: int) -> int | None:
    """For `Throttle.believable`."""
    return state


def anybody_may(facts: object, membership: str | None, joined: object) -> bool:
    """For `may_preview`."""
    return True


def any_room(store: Any, user_id: str, room_id: str) -> Any:
    """For `readable_room`."""
    from homeserver.services.access import ReadableRoom  # not before the switch is turned

    return ReadableRoom(store.rooms.get(room_id), None, None)


def edits_of_anything(row: object, relation: object) -> bool:
    """For `is_editable`."""
    return True
