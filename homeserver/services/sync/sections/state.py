"""The state that goes beside a timeline: all of it, or what changed unseen.

`state` brings a client to the start of the timeline, `state_after` to its end.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from homeserver.domain.filters import EventFilter
from homeserver.services.access import ReadableRoom
from homeserver.services.client_form import ClientForm
from homeserver.services.sync.sections.shape import Shape
from homeserver.services.sync.sections.timeline import Timeline, end_of
from homeserver.storage.event_texts import EventText, text_of
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.state import Changed
from homeserver.storage.store import Store

# State events that are read together: those of a larger room are still read at once.
MAX_TOGETHER = 5_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """`members`: whose member events a lazy client needs; None: everybody's."""

    filter: EventFilter
    use_state_after: bool
    lazy: bool


def place_of_state(room: ReadableRoom, timeline: Timeline, upto: int, wanted: Wanted) -> int:
    """The position as of which the client shall know the state beside the timeline.

    Not the state before the timeline's first event: that one may come late, from an older place of the room.
    """
    if timeline.first_anchor is not None and not wanted.use_state_after:
        return timeline.first_anchor - 1
    return end_of(room, upto)


@dataclass(slots=True)
class Beside:
    """What goes beside a timeline: event number by key number. `changed` are the types of state that changed since the
    client heard of the room, wherever that is told."""

    events: dict[int, int]
    changed: set[str] = field(default_factory=set)


def load_states(
    store: Store,
    rooms: Mapping[int, ReadableRoom],
    starts: Mapping[int, int | None],
    timelines: Mapping[int, Timeline],
    upto: int,
    wanted: Wanted,
    needed: Mapping[int, Collection[str]],
) -> dict[int, Beside]:
    """By room number. `starts`: the position that the client knows the room's state of; None: it knows nothing.
    `needed`: whose member events a lazy client must have of a room of which it knows nothing."""
    places = {n: place_of_state(rooms[n], timelines[n], upto, wanted) for n in starts}
    whole = {n: (rooms[n].row.state_generation, places[n]) for n, start in starts.items() if start is None}
    members = {user_id for n in whole for user_id in needed[n]} if wanted.lazy else None
    found = {n: Beside(state) for n, state in store.state.list_as_of(whole, members=members).items()}
    known = {n: (start, places[n]) for n, start in starts.items() if start is not None}
    for n, changes in store.state.list_changes(known).items():
        found[n] = Beside({}, {change.name[0] for change in changes})
        for change in changes:
            _apply(found[n], change)
    # Merged branches change keys of which no event of the timeline tells, and some events are invisible.
    within = {n: (place, end_of(rooms[n], upto)) for n, place in places.items() if place < end_of(rooms[n], upto)}
    for n, changes in store.state.list_changes(within).items():
        told = {(event.type, event.state_key) for event in timelines[n].events}
        found[n].changed |= {change.name[0] for change in changes}
        for change in changes:
            if change.name not in told:
                _apply(found[n], change)
    return found


def _apply(state: Beside, change: Changed) -> None:
    if change.after is None:
        state.events.pop(change.key, None)
    elif change.after != change.before:
        state.events[change.key] = change.after


@dataclass(frozen=True, slots=True)
class Asked:
    """Of a room's state: which events, by number. `members`: of member events only those of these users; None: all."""

    numbers: Collection[int]
    members: Collection[str] | None


class StateEvents:
    """State events in the form and the shape that a viewer is told events in, of many rooms at once."""

    def __init__(self, store: Store, form: ClientForm, shape: Shape, wanted: Wanted) -> None:
        self._store = store
        self._form = form
        self._shape = shape
        self._wanted = wanted

    def load(self, rooms: Mapping[int, ReadableRoom], asked: Mapping[int, Asked]) -> dict[int, list[EventText]]:
        """By room number: those that the filter wants, in the order of the history."""
        found: dict[int, list[EventText]] = {}
        batch: dict[int, Asked] = {}
        size = 0
        for n, one in asked.items():
            batch[n] = one
            size += len(one.numbers)
            if size >= MAX_TOGETHER:
                found.update(self._load(rooms, batch))
                batch, size = {}, 0
        found.update(self._load(rooms, batch))
        return found

    def _load(self, rooms: Mapping[int, ReadableRoom], asked: Mapping[int, Asked]) -> dict[int, list[EventText]]:
        found: dict[int, list[EventText]] = {n: [] for n in asked}
        numbers = [number for one in asked.values() for number in one.numbers]
        if self._wanted.filter.is_everything and self._shape.is_usual:
            texts = self._store.event_texts.list_state(self._form.asker(), numbers)
            for text in self._form.complete(self._store, texts, None):
                members = asked[text.room].members
                if members is None or text.type != "m.room.member" or text.state_key in members:
                    found[text.room].append(text)
        else:
            rows: dict[int, list[EventRow]] = {n: [] for n in asked}
            for row in self._store.events.list_by_numbers(numbers).values():
                rows[row.room].append(row)
            for n, of_room in rows.items():
                found[n] = self._reshaped(rooms[n], of_room, asked[n].members)
        for events in found.values():
            events.sort(key=lambda event: (event.anchor or 0, event.number))
        return found

    def _reshaped(
        self, room: ReadableRoom, rows: Collection[EventRow], members: Collection[str] | None
    ) -> list[EventText]:
        chosen = select_state(rows, self._wanted, room.row.room_id, members)
        self._form.prepare(self._store, chosen)
        events = [self._form.event(row, None) for row in chosen]
        if not self._shape.is_usual:
            events = self._shape.reshape(self._store, room.row, chosen, events)
        return [text_of(row, event) for row, event in zip(chosen, events, strict=True)]


def select_state(
    rows: Collection[EventRow], wanted: Wanted, room_id: str, members: Collection[str] | None
) -> list[EventRow]:
    """Those state events that the filter wants; of the member events only those of `members`, unless it is None."""
    chosen: list[EventRow] = []
    everything = wanted.filter.is_everything
    for row in rows:
        if members is not None and row.type == "m.room.member" and row.state_key not in members:
            continue
        content = {} if everything else parse_members(row.client)["content"]
        if everything or wanted.filter.matches(row.type, row.sender, room_id, content):
            chosen.append(row)
    return chosen
