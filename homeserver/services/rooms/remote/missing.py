"""What is missing before events of a room: what they follow and is not held, also behind events that nobody sees.

Readers meet only events that are seen. So the first of these after an event that nobody sees stands for the gap before
it too: `placing` marks it, and who fills its gap looks behind what it follows unseen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

# Events that are looked behind, and so many at once: they may be large.
MAX_WALKED = 1_000
STEP = 50


@dataclass(frozen=True, slots=True)
class Link:
    """By number, what an event follows: as it was noted, and as far as it is held now."""

    noted: frozenset[int]
    held: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """`ids`: of what is missing, the nearest first. `links`: of the events that it is missing before, by number."""

    ids: list[str]
    links: dict[int, Link]


def find_missing(store: Store, room: RoomRow, numbers: Iterable[int]) -> Missing:
    """Before which events, by number. What follows an event of another room misses nothing: it was rejected."""
    ids: dict[str, None] = {}
    links: dict[int, Link] = {}
    ahead = dict.fromkeys(numbers)
    while ahead and len(links) < MAX_WALKED:
        step = list(ahead)[:STEP]
        events = store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, step).values()
        held = store.events.list_held({one for stored in events for one in stored.event.prev_events})
        own = {event_id: one for event_id, one in held.items() if one.room == room.number}
        for stored in events:
            prev = stored.event.prev_events
            ids |= dict.fromkeys(one for one in prev if one not in held or (one in own and not own[one].placed))
            numbers_now = tuple(own[one].number for one in prev if one in own and own[one].placed)
            links[stored.number] = Link(frozenset(stored.prev), numbers_now)
        ahead |= dict.fromkeys(sorted(one.number for one in own.values() if one.hides_gap))
        ahead = {number: None for number in ahead if number not in links}
    return Missing(list(ids), links)
