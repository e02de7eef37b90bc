"""The state where branches of a room's event graph meet.

The groups of the branches are resolved by the room version's algorithm; the result is remembered by the set of
groups, so that it is computed once.
"""

from collections.abc import Sequence

from homeserver.domain.errors import BrokenInvariant
from homeserver.domain.event import Event, StateKey
from homeserver.domain.resolution.graph import Missing
from homeserver.domain.resolution.state import resolve
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import StoredEvent

# Rounds of loading what a resolution lacks: each brings a whole generation of auth events.
MAX_ROUNDS = 500


def merge_groups(room: LockedRoom, groups: Sequence[int]) -> int:
    """The group of the state that these groups resolve to; of none of them, the empty one."""
    distinct = sorted(set(groups))
    if len(distinct) < 2:
        return distinct[0] if distinct else 0
    state = room.store.state
    known = state.find_merge(distinct)
    if known is not None:
        return known
    forks = [state.get_group(group) for group in distinct]
    names = state.name_keys({key for fork in forks for key in fork})
    loaded = _load(room, {event for fork in forks for event in fork.values()})
    ids = {number: stored.event.event_id for number, stored in loaded.items()}
    resolved = _resolve(room, [{names[key]: ids[event] for key, event in fork.items()} for fork in forks], loaded)
    numbers = {stored.event.event_id: number for number, stored in loaded.items()}
    keys = {name: key for key, name in names.items()}
    base = forks[-1]
    changes = dict.fromkeys(base, 0)
    changes.update({keys[name]: numbers[event_id] for name, event_id in resolved.items()})
    group = room.store.take_number()
    state.add_group(group, room.row.number, distinct[-1], {k: e for k, e in changes.items() if base.get(k, 0) != e})
    state.add_merge(distinct, group)
    return group


def _resolve(
    room: LockedRoom, forks: Sequence[dict[StateKey, str]], loaded: dict[int, StoredEvent]
) -> dict[StateKey, str]:
    events: dict[str, Event] = {stored.event.event_id: stored.event for stored in loaded.values()}
    for _ in range(MAX_ROUNDS):
        # An event is stored after all that it cites, so the numbers tell which of two came later in the auth graph.
        order = {stored.event.event_id: number for number, stored in loaded.items()}
        rejected = {stored.event.event_id for stored in loaded.values() if stored.rejected}
        result = resolve(room.version, forks, events, rejected, order.get)
        if not isinstance(result, Missing):
            return dict(result)
        numbers = room.store.events.find_numbers(sorted(result.ids))
        if len(numbers) < len(result.ids):
            raise BrokenInvariant(f"room {room.row.room_id}: auth events that were accepted are not there")
        loaded.update(_load(room, set(numbers.values())))
        # What a generation cites is probably asked for next: one round trip brings it all.
        cited = {number for key in numbers.values() for number in loaded[key].auth if number not in loaded}
        loaded.update(_load(room, cited))
        events = {stored.event.event_id: stored.event for stored in loaded.values()}
    raise BrokenInvariant(f"room {room.row.room_id}: the state was not resolved in {MAX_ROUNDS} rounds")


def _load(room: LockedRoom, numbers: set[int]) -> dict[int, StoredEvent]:
    return room.events(numbers) if numbers else {}
