"""What is missing before events of a room: what they follow and is not held, also behind events that nobody sees.

Readers meet only events that are seen. So the first of these after an event that nobody sees stands for the gap before
it too: `placing` marks it, and who fills its gap looks behind what it follows unseen.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

# Events that are looked behind.
MAX_WALKED = 1_000


@dataclass(slots=True)
class Missing:
    """`ids`: of what is missing, the nearest first. `links`: by number, the events that it is missing before, each with
    the numbers of what it follows, as far as that is held."""

    ids: list[str] = field(default_factory=list)
    links: dict[int, tuple[StoredEvent, tuple[int, ...]]] = field(default_factory=dict)


def find_missing(store: Store, room: RoomRow, numbers: Iterable[int]) -> Missing:
    """Before which events, by number. What follows an event of another room misses nothing: it was rejected."""
    found = Missing()
    ids: dict[str, None] = {}
    ahead = list(numbers)
    while ahead and len(found.links) < MAX_WALKED:
        events = store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, ahead).values()
        rows = store.events.list_by_ids({one for stored in events for one in stored.event.prev_events})
        own = {event_id: row for event_id, row in rows.items() if row.room == room.number}
        placed = {event_id: row for event_id, row in own.items() if row.state_before is not None}
        for stored in events:
            prev = stored.event.prev_events
            ids |= dict.fromkeys(one for one in prev if one not in rows or (one in own and one not in placed))
            found.links[stored.number] = (stored, tuple(placed[one].number for one in prev if one in placed))
        unseen = {row.number for row in placed.values() if row.anchor is None and row.gap_before}
        ahead = sorted(unseen - found.links.keys())
    found.ids = list(ids)
    return found
