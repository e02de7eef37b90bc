"""The state that goes beside a timeline: all of it, or what changed unseen.

`state` brings a client to the start of the timeline, `state_after` to its end.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.domain.filters import EventFilter
from homeserver.services.access import ReadableRoom
from homeserver.services.sync.sections.timeline import Timeline
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.store import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """`members`: whose member events a lazy client needs; None: everybody's."""

    filter: EventFilter
    use_state_after: bool
    lazy: bool


def full_state(store: Store, room: ReadableRoom, timeline: Timeline, upto: int, wanted: Wanted) -> dict[int, int]:
    """All of the room's state, event number by key number."""
    end = upto if room.left_at is None else min(upto, room.left_at)
    if timeline.events and not wanted.use_state_after:
        return store.state.get_group(timeline.events[0][0].state_before or 0)
    return store.state.as_of(room.row.number, room.row.state_generation, end)


def changed_state(
    store: Store, room: ReadableRoom, timeline: Timeline, after: int, upto: int, wanted: Wanted
) -> dict[int, int]:
    """What changed since `after` and is not told by the timeline itself."""
    end = upto if room.left_at is None else min(upto, room.left_at)
    if wanted.use_state_after:
        changed = store.state.list_changed_since(room.row.number, after, end)
        return {key: event for key, (_, event) in changed.items() if event is not None}
    told = {row.number for row, _ in timeline.events}
    if timeline.limited and timeline.first_anchor is not None:
        before = store.state.list_changed_since(room.row.number, after, timeline.first_anchor - 1)
        found = {key: event for key, (_, event) in before.items() if event is not None}
    else:
        found = {}
    # A merge of branches may change keys of which no event of this timeline tells.
    for key, (_, event) in store.state.list_changed_since(room.row.number, after, end).items():
        if event is not None and event not in told and key not in found and not _told_later(timeline, key, store):
            found[key] = event
    return found


def _told_later(timeline: Timeline, key: int, store: Store) -> bool:
    names = store.state.name_keys([key])
    return any((row.type, row.state_key) == names[key] for row, _ in timeline.events)


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
