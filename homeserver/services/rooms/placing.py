"""Where an event stands in its room, and the verdict on it there.

Not here: what an accepted event does to the room: that is `append` for what is new, `remote.backfilling` for history.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.domain.authorization.selection import CREATE, StateLookup
from homeserver.domain.errors import BrokenInvariant
from homeserver.domain.event import Event, StateKey
from homeserver.domain.verdict import Accepted, Context, Missing, Rejected, SoftFailed, judge
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.merging import merge_groups
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import EventRow, NewEvent, StoredEvent, split
from homeserver.storage.store import Store


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an event comes in that another server sent.

    `outlier`: its number, if it is held already without a place. `claimed`: the group of the state before it as another
    server tells it, needed where not all that it follows is held. `entering`: with it this server comes into the room,
    so the end of the room that was known counts no more. `early`: redactions of it that came before it, by number.
    `history`: it was fetched because somebody reads back, and says nothing of what the room is now.
    """

    outlier: int | None = None
    claimed: int | None = None
    entering: bool = False
    early: Sequence[int] = ()
    history: bool = False


HERE = Arrival()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an event stands: what it follows and which state it meets.

    `unseen`: those of `prev` that nobody sees; `why`: it cannot stand there, whatever the rules of the room say; `gap`:
    not all that it follows is held, be it directly or behind what nobody sees.
    """

    prev: list[int]
    linear: bool
    group_before: int
    unseen: list[int] = field(default_factory=list)
    why: str | None = None
    gap: bool = False


def find_placement(room: LockedRoom, event: Event, arrival: Arrival) -> Placement:
    row = room.row
    if arrival.claimed is None and not arrival.history and set(event.prev_events) == set(row.extremity_ids):
        return Placement(row.extremities, True, row.state_group)
    known = room.store.events.list_by_ids(event.prev_events).values()
    own = [one for one in known if one.room == row.number and one.state_before is not None]
    why, incomplete = None, len(own) < len(set(event.prev_events))
    if any(one.room != row.number for one in known):
        why = "The event follows an event of another room."
    elif incomplete and arrival.claimed is None:
        raise BrokenInvariant(f"{event.event_id} refers to events that are not held")
    elif event.type == "m.room.create" and row.extremities and not _is_the_create_event(room, event, arrival):
        # NOTSPEC: the rules let it in, and a room of old versions would be torn apart by its own server.
        why = "The room has a create event already."
    elif not event.prev_events and event.type != "m.room.create":
        why = "The event follows nothing."
    groups = [] if arrival.entering else [one.state_after or one.state_before or 0 for one in own]
    if arrival.claimed is not None:
        groups.append(arrival.claimed)
    unseen = [one for one in own if one.anchor is None]
    gap = incomplete or any(one.gap_before for one in unseen)
    numbers = [one.number for one in unseen]
    return Placement([one.number for one in own], False, merge_groups(room, groups), numbers, why, gap)


def _is_the_create_event(room: LockedRoom, event: Event, arrival: Arrival) -> bool:
    """Whether it is the room's own, found at the beginning of its history."""
    standing = room.lookup(CREATE)
    return arrival.history and standing is not None and standing.event_id == event.event_id


def find_auth_events(room: LockedRoom, event: Event) -> list[StoredEvent]:
    """The events it cites. Those of the current state are at hand."""
    found: dict[str, StoredEvent] = {}
    for stored in room.current_by_id(event.auth_events):
        found[stored.event.event_id] = stored
    missing = [event_id for event_id in event.auth_events if event_id not in found]
    if missing:
        rows = room.store.events.list_by_ids(missing).values()
        for stored in room.events(row.number for row in rows if row.room == room.row.number).values():
            found[stored.event.event_id] = stored
        for row in rows:
            if row.room != room.row.number:
                found[row.event_id] = _of_another_room(room.store, row)
    return [found[event_id] for event_id in event.auth_events if event_id in found]


def judge_in_room(
    room: LockedRoom, event: Event, place: Placement, auth: list[StoredEvent], arrival: Arrival
) -> Accepted | SoftFailed | Rejected:
    if place.why is not None:
        return Rejected(place.why)
    before: StateLookup = room.lookup if place.linear else GroupLookup(room, place.group_before)
    verdict = judge(
        event,
        Context(
            auth_events={stored.event.event_id: stored.event for stored in auth},
            rejected=[stored.event.event_id for stored in auth if stored.rejected],
            state_before=before,
            current_state=before if place.linear or arrival.entering or arrival.history else room.lookup,
            create=None if event.type == "m.room.create" else before(CREATE),
            state_complete=room.row.state_complete,
        ),
    )
    if isinstance(verdict, Missing):
        raise BrokenInvariant(f"{event.event_id} cites events that are not held: {sorted(verdict.ids)}")
    return verdict


def record_hidden(
    room: LockedRoom,
    stored: StoredEvent,
    place: Placement,
    verdict: SoftFailed | Rejected,
    arrival: Arrival,
) -> None:
    """Keeps an event that nobody sees. Its state is known, so that what follows it can be judged."""
    client, wire = split(stored.event.pdu)
    after, key = place.group_before, None
    if stored.event.is_state:
        key = room.store.state.intern_keys([stored.event.key])[stored.event.key]
        if isinstance(verdict, SoftFailed):
            after = room.store.take_number()
            room.store.state.add_group(after, room.row.number, place.group_before, {key: stored.number})
    write = room.store.events.add if arrival.outlier is None else room.store.events.place
    write(
        NewEvent(
            number=stored.number, event=stored.event, room=room.row.number, position=None, anchor=None,
            client=client, wire=wire, prev=place.prev, auth=list(stored.auth),
            state_before=place.group_before, state_after=after, key=key, replaces=None, ordinals=[],
            gap_before=place.gap,
            rejected=verdict.why if isinstance(verdict, Rejected) else None,
            soft_failed=verdict.why if isinstance(verdict, SoftFailed) else None,
        )
    )  # fmt: skip


def _of_another_room(store: Store, row: EventRow) -> StoredEvent:
    """An event that cannot authorise one of this room, as it stands in its own."""
    room = store.rooms.list_by_numbers([row.room])[0]
    return store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, [row.number])[row.number]


class GroupLookup:
    """Answers which event stands at a key of a state group."""

    def __init__(self, room: LockedRoom, group: int) -> None:
        self._room = room
        self._group = group

    def __call__(self, key: StateKey) -> Event | None:
        stored = self.find(key)
        return None if stored is None else stored.event

    def find(self, key: StateKey) -> StoredEvent | None:
        numbers = self._room.store.state.number_keys([key])
        if key not in numbers:
            return None
        event = self._room.store.state.find_in_group(self._group, numbers[key])
        return None if event is None else self._room.events([event])[event]
