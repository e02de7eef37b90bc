"""Events that are held because others cite them, without a place in the graph of their room.

Auth events and the state that other servers tell are such. They are judged by the events that they cite alone.
https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Collection, Mapping, Sequence

from homeserver.domain.authorization.create import create_event_id
from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.event import Event, StateKey
from homeserver.domain.verdict import Context, Missing, Rejected, judge
from homeserver.domain.versions import RoomVersion
from homeserver.storage.events import Held, NewEvent, StoredEvent, split
from homeserver.storage.store import Store


def add_outliers(store: Store, version: RoomVersion, room: int, room_id: str, events: Sequence[Event]) -> list[Event]:
    """Stores those events that are not held yet, whatever their order. Returns those that could not be judged, because
    something that they cite is neither held nor among them."""
    new = {event.event_id: event for event in events if event.room_id == room_id}
    cited_by = {event_id: cites(version, event) for event_id, event in new.items()}
    held = store.events.list_held({*new, *(one for cited in cited_by.values() for one in cited)})
    for event_id in held.keys() & new.keys():
        del new[event_id]
    known = _load(store, version, room, room_id, held)
    keys = store.state.intern_keys([event.key for event in new.values() if event.is_state])
    # How many events each one waits for, and who waits for it.
    missing: dict[str, int] = {}
    followers: dict[str, list[str]] = {}
    for event_id in new:
        absent = {cited for cited in cited_by[event_id] if cited not in known}
        missing[event_id] = len(absent)
        for cited in absent:
            followers.setdefault(cited, []).append(event_id)
    ready = [event_id for event_id, count in missing.items() if count == 0]
    rows: list[NewEvent] = []
    for event_id in ready:
        event = new.pop(event_id)
        row = _judged(store.take_number(), room, event, [known[one] for one in cited_by[event_id]], keys)
        known[event_id] = StoredEvent(row.number, event, row.rejected is not None, (), tuple(row.auth))
        rows.append(row)
        for follower in followers.get(event_id, ()):
            missing[follower] -= 1
            if missing[follower] == 0:
                ready.append(follower)
    store.events.add_many(rows)
    for event_id in ready:
        # Whoever enters the room reads all of them at once.
        store.events.remember(known[event_id])
    return list(new.values())


def cites(version: RoomVersion, event: Event) -> Collection[str]:
    """Its auth events first, and then what its room version makes it cite."""
    if version.room_id_is_create_hash and event.type != "m.room.create":
        return (*event.auth_events, create_event_id(event.room_id))
    return event.auth_events


def _load(
    store: Store, version: RoomVersion, room: int, room_id: str, held: Mapping[str, Held]
) -> dict[str, StoredEvent]:
    """Those of this room. What belongs to another one authorises nothing, so whoever cites it stays out."""
    numbers = [one.number for one in held.values() if one.room == room]
    found = store.events.list_stored(version, room_id, numbers)
    return {stored.event.event_id: stored for stored in found.values()}


def _judged(
    number: int, room: int, event: Event, cited: Sequence[StoredEvent], keys: Mapping[StateKey, int]
) -> NewEvent:
    """The row of an event, with the verdict of what it cites. `keys`: the numbers of state keys."""
    create = next((one.event for one in cited if one.event.is_state and one.event.key == CREATE), None)
    verdict = judge(
        event,
        Context(
            auth_events={one.event.event_id: one.event for one in cited},
            rejected=[one.event.event_id for one in cited if one.rejected],
            create=create,
        ),
    )
    assert not isinstance(verdict, Missing), "all that it cites is at hand"
    client, wire = split(event.pdu)
    return NewEvent(
        number=number, event=event, room=room, position=None, anchor=None, client=client, wire=wire,
        prev=[], auth=[one.number for one in cited[: len(event.auth_events)]], state_before=None, state_after=None,
        key=keys[event.key] if event.is_state else None, replaces=None, ordinals=[],
        rejected=verdict.why if isinstance(verdict, Rejected) else None,
    )  # fmt: skip
