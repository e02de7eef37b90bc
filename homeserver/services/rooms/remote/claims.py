"""The state before an event as another server tells it, made into a state group of ours.

Needed where what the event follows is not held: after a gap, and when we enter a room.
"""

from collections.abc import Sequence

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.errors import RemoteError
from homeserver.domain.event import StateKey
from homeserver.services.rooms.room import LockedRoom


def claim_state(room: LockedRoom, event_ids: Sequence[str]) -> int:
    """The number of a group with these events, all of them held.

    Those that were rejected, or are of another room, are left out: they are no state. Raises RemoteError if one is not
    held, or stands at the place of another, or if the create event is not among them.
    """
    store = room.store
    held = store.events.list_held(event_ids)
    missing = [event_id for event_id in event_ids if event_id not in held]
    if missing:
        raise RemoteError(f"{len(missing)} events of a state are not held, {missing[0]} for one")
    numbers = [one.number for one in held.values() if one.room == room.row.number and not one.rejected]
    found: dict[StateKey, int] = {}
    for stored in room.events(numbers).values():
        if not stored.event.is_state or stored.event.key in found:
            raise RemoteError(f"{stored.event.event_id} has no place of its own in the state")
        found[stored.event.key] = stored.number
    if CREATE not in found:
        raise RemoteError("A state without a create event")
    keys = store.state.intern_keys(found)
    state = {keys[key]: number for key, number in found.items()}
    group = store.take_number()
    # As what changes since the current state it takes little room.
    base = store.state.get_group(room.row.state_group)
    changes = dict.fromkeys(base.keys() - state.keys(), 0)
    changes.update({key: number for key, number in state.items() if base.get(key) != number})
    store.state.add_group(group, room.row.number, room.row.state_group, changes)
    return group
