"""The timelines of rooms: the newest events that the viewer may see and wants to."""

from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.services.access import ReadableRoom, visible_events
from homeserver.services.viewer import Viewer, wanted_events
from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.store import Store

# How many events are looked through for those that a narrow filter wants.
MAX_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """`events`: oldest first, each with the viewer's membership at it. `start`: the place just before the first."""

    events: list[tuple[EventRow, str | None]]
    limited: bool
    start: Place

    @property
    def first_anchor(self) -> int | None:
        return self.events[0][0].anchor if self.events else None


def load_timelines(
    store: Store, rooms: Mapping[int, tuple[ReadableRoom, int]], upto: int, viewer: Viewer
) -> dict[int, Timeline]:
    """By room number. `rooms` gives each room with the position after which its timeline starts."""
    ranges = {number: (start, end_of(room, upto)) for number, (room, start) in rooms.items()}
    most = viewer.filter.limit + 1
    if not viewer.filter.is_everything or viewer.ignored:
        most = min(MAX_LOOKED_AT, 10 * viewer.filter.limit + 100)
    found = store.history.list_live_in_rooms(ranges, most)
    timelines: dict[int, Timeline] = {}
    for number, rows in found.items():
        room = rooms[number][0]
        if viewer.filter.matches_room(room.row.room_id):
            timelines[number] = _cut(store, room, viewer, rows, most, upto)
        else:
            timelines[number] = Timeline([], False, Place(upto))
    return timelines


def end_of(room: ReadableRoom, upto: int) -> int:
    """The position up to which the viewer may know the room."""
    return upto if room.left_at is None else min(upto, room.left_at)


def _cut(store: Store, room: ReadableRoom, viewer: Viewer, rows: list[EventRow], most: int, upto: int) -> Timeline:
    """`rows` are the newest first, at most `most`, possibly more than wanted."""
    limit = viewer.filter.limit
    gap = next((index for index, row in enumerate(rows) if row.gap_before), None)
    if gap is not None:
        rows = rows[: gap + 1]
    wanted = list(wanted_events(rows, viewer, room.row.room_id))
    seen = visible_events(store, room, viewer.user_id, wanted[: limit + 1])
    events = _unambiguous(rows, seen[:limit])
    cut = len(events) < len(seen[:limit])
    events.reverse()
    # Not all that there is was looked through: there may be more that is wanted.
    unseen = len(rows) == most and len(wanted) <= limit
    limited = len(wanted) > limit or gap is not None or unseen or cut
    if unseen and not cut:
        start = Place(rows[-1].anchor or 0, rows[-1].rank - 1)
    elif events:
        first = events[0][0]
        start = Place(first.anchor or 0, first.rank - 1)
    else:
        start = Place(upto)
    return Timeline(events, limited, start)


def _unambiguous(rows: list[EventRow], seen: list[tuple[EventRow, str | None]]) -> list[tuple[EventRow, str | None]]:
    """The newest of `seen` (both lists: newest first), up to a state event that a later one replaced which is not seen.

    Clients take the state from the timeline's events: an older one would undo what they are told beside it.
    """
    by_number = {row.number: index for index, (row, _) in enumerate(seen)}
    hidden: set[tuple[str, str | None]] = set()
    for row in rows:
        if row.state_key is None:
            continue
        if row.number not in by_number:
            hidden.add((row.type, row.state_key))
        elif (row.type, row.state_key) in hidden:
            return seen[: by_number[row.number]]
    return seen
