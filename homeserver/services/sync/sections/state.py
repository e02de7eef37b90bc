"""The state that goes beside a timeline: all of it, or what changed unseen.

`state` brings a client to the start of the timeline, `state_after` to its end.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.domain.filters import EventFilter
from homeserver.services.access import ReadableRoom
from homeserver.services.sync.sections.timeline import Timeline, end_of
from homeserver.storage.events import EventRow, parse_members
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


def changed_state(
    store: Store, room: ReadableRoom, timeline: Timeline, after: int, upto: int, wanted: Wanted
) -> dict[int, int]:
    """What changed since `after` and is not told by the timeline itself: event number by key number."""
    number, end = room.row.number, end_of(room, upto)
    last = {key: event for key, event in _changed(store, number, after, end).items() if event is not None}
    if wanted.use_state_after:
        return last
    found: dict[int, int] = {}
    if timeline.limited and timeline.first_anchor is not None:
        before = _changed(store, number, after, timeline.first_anchor - 1)
        found = {key: event for key, event in before.items() if event is not None}
    # A merge of branches may change keys of which no event of this timeline tells, and some events may be invisible.
    told = {row.number for row, _ in timeline.events}
    rest = {key: event for key, event in last.items() if event not in told and key not in found}
    if rest:
        names = store.state.name_keys(rest)
        in_timeline = {(row.type, row.state_key) for row, _ in timeline.events}
        found.update({key: event for key, event in rest.items() if names[key] not in in_timeline})
    return found


def _changed(store: Store, room: int, after: int, upto: int) -> dict[int, int | None]:
    return {key: event for key, (_, event) in store.state.list_changed_since(room, after, upto).items()}


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
