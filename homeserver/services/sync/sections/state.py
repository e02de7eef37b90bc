"""The state that goes beside a timeline: all of it, or what changed unseen.

`state` brings a client to the start of the timeline, `state_after` to its end.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from homeserver.domain.filters import EventFilter
from homeserver.services.access import ReadableRoom
from homeserver.services.sync.sections.timeline import Timeline, end_of
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.state import Changed
from homeserver.storage.store import Store


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
) -> dict[int, Beside]:
    """By room number. `starts`: the position that the client knows the room's state of; None: it knows nothing."""
    places = {n: place_of_state(rooms[n], timelines[n], upto, wanted) for n in starts}
    whole = {n: (rooms[n].row.state_generation, places[n]) for n, start in starts.items() if start is None}
    found = {n: Beside(state) for n, state in store.state.list_as_of(whole).items()}
    known = {n: (start, places[n]) for n, start in starts.items() if start is not None}
    for n, changes in store.state.list_changes(known).items():
        found[n] = Beside({}, {change.name[0] for change in changes})
        for change in changes:
            _apply(found[n], change)
    # Merged branches change keys of which no event of the timeline tells, and some events are invisible.
    within = {n: (place, end_of(rooms[n], upto)) for n, place in places.items() if place < end_of(rooms[n], upto)}
    for n, changes in store.state.list_changes(within).items():
        told = {(row.type, row.state_key) for row, _ in timelines[n].events}
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
