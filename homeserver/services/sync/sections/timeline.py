"""The timelines of rooms: the newest events that the viewer may see and wants to.

Of most rooms the viewer sees and wants all of them: then the database writes the events, for all these rooms at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeserver.services.access import ReadableRoom, joined_since, visible_events
from homeserver.services.aggregations import Onlooker
from homeserver.services.client_form import ClientForm
from homeserver.services.sync.sections.shape import Shape
from homeserver.services.viewer import Viewer, wanted_events
from homeserver.storage.event_texts import EventText, text_of
from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.store import Store

# How many events are looked through for those that a narrow filter wants.
MAX_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """`events`: oldest first, their texts complete. `start`: the place just before the first."""

    events: Sequence[EventText]
    limited: bool
    start: Place

    @property
    def first_anchor(self) -> int | None:
        return self.events[0].anchor if self.events else None


@dataclass(frozen=True, slots=True)
class _Cut:
    """As Timeline, of rows, each with the viewer's membership at it."""

    events: list[tuple[EventRow, str | None]]
    limited: bool
    start: Place


class Timelines:
    """Of one viewer, in the form and the shape that they are told events in."""

    def __init__(self, store: Store, viewer: Viewer, form: ClientForm, shape: Shape) -> None:
        self._store = store
        self._viewer = viewer
        self._form = form
        self._shape = shape
        self._filter = viewer.filter

    def load(self, rooms: Mapping[int, tuple[ReadableRoom, int]], upto: int) -> dict[int, Timeline]:
        """By room number. `rooms` gives each room with the position after which its timeline starts."""
        asked = {n: one for n, one in rooms.items() if self._filter.matches_room(one[0].row.room_id)}
        timelines = dict.fromkeys(rooms.keys() - asked.keys(), Timeline([], False, Place(upto)))
        timelines.update(self._load_plain(asked, upto))
        timelines.update(self._load_rows({n: one for n, one in asked.items() if n not in timelines}, upto))
        return timelines

    def _load_plain(self, rooms: Mapping[int, tuple[ReadableRoom, int]], upto: int) -> dict[int, Timeline]:
        """Of those rooms where the viewer sees and wants everything."""
        if not self._shape.is_usual or not self._filter.is_everything or self._viewer.ignored:
            return {}
        joined = {n: position for n, (room, _) in rooms.items() if (position := joined_since(room)) is not None}
        ranges = {n: (rooms[n][1], end_of(rooms[n][0], upto)) for n in joined}
        limit = self._filter.limit
        asker = self._form.asker(',"membership":"join"')
        timelines: dict[int, Timeline] = {}
        for n, texts in self._store.event_texts.list_live_in_rooms(asker, ranges, limit + 1).items():
            if texts and (texts[-1].anchor or 0) <= joined[n]:
                continue
            gap = next((index for index, text in enumerate(texts) if text.gap_before), None)
            if gap is not None:
                texts = texts[: gap + 1]
            limited = gap is not None or len(texts) > limit
            events = texts[limit - 1 :: -1] if limit else []
            start = Place(events[0].anchor or 0, events[0].rank - 1) if events else Place(upto)
            onlooker = Onlooker(rooms[n][0], self._viewer.user_id, self._viewer.ignored) if limited else None
            told = self._form.complete(self._store, events, "join", onlooker=onlooker)
            timelines[n] = Timeline(told, limited, start)
        return timelines

    def _load_rows(self, rooms: Mapping[int, tuple[ReadableRoom, int]], upto: int) -> dict[int, Timeline]:
        """Of any rooms, event by event."""
        ranges = {number: (start, end_of(room, upto)) for number, (room, start) in rooms.items()}
        most = self._filter.limit + 1
        if not self._filter.is_everything or self._viewer.ignored:
            most = min(MAX_LOOKED_AT, 10 * self._filter.limit + 100)
        cuts = {
            number: _cut(self._store, rooms[number][0], self._viewer, rows, most, upto)
            for number, rows in self._store.history.list_live_in_rooms(ranges, most).items()
        }
        # In other timelines nothing is bundled: the client gets, or will get, all that points at their events.
        limited = [row for cut in cuts.values() if cut.limited for row, _ in cut.events]
        parents = self._store.relations.list_parents((row.room, row.event_id) for row in limited)
        self._form.prepare(self._store, [row for cut in cuts.values() for row, _ in cut.events])
        timelines: dict[int, Timeline] = {}
        for number, cut in cuts.items():
            room, rows = rooms[number][0], [row for row, _ in cut.events]
            if cut.limited:
                onlooker = Onlooker(room, self._viewer.user_id, self._viewer.ignored)
                self._form.bundle(self._store, onlooker, rows, parents)
            events = [self._form.event(row, membership) for row, membership in cut.events]
            if not self._shape.is_usual:
                events = self._shape.reshape(self._store, room.row, rows, events)
            told = [text_of(row, event) for row, event in zip(rows, events, strict=True)]
            timelines[number] = Timeline(told, cut.limited, cut.start)
        return timelines


def end_of(room: ReadableRoom, upto: int) -> int:
    """The position up to which the viewer may know the room."""
    return upto if room.left_at is None else min(upto, room.left_at)


def _cut(store: Store, room: ReadableRoom, viewer: Viewer, rows: list[EventRow], most: int, upto: int) -> _Cut:
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
    return _Cut(events, limited, start)


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
