"""THE place where an event enters a room.

A local send and a remote PDU come the same way, and differ only in what is done with the verdict: raise, or record.
The room's row is locked. What is appended is judged by the state before it and by the current state, gets its number,
its position and its state groups, moves the room's extremities, and is told to the projections, which keep the tables
that follow from it. https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from dataclasses import dataclass, field, replace

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.errors import BrokenInvariant
from homeserver.domain.event import Event, StateKey
from homeserver.domain.identifiers import domain_of
from homeserver.domain.relations import relation_of, thread_root
from homeserver.domain.verdict import Accepted, Context, Missing, Rejected, SoftFailed, judge
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.client_form import replaced_members, with_redacts
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.rooms.changes import Appended, StateChange
from homeserver.services.rooms.merging import merge_groups
from homeserver.services.rooms.projections import members, redactions, unread
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import EventRow, NewEvent, StoredEvent, split
from homeserver.storage.store import Store
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.publications import EventItem, StateItem, Summary

# What a room is called, and who is in it, follows from these.
HEROES = 5
NAMING = frozenset({"m.room.name", "m.room.canonical_alias"})
OPEN_VISIBILITIES = ("shared", "world_readable")


@dataclass(frozen=True, slots=True)
class Sent:
    """Which device of ours sent an event, and with which transaction id."""

    device_id: str | None = None
    txn_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an event stands: what it follows and which state it meets.

    `unseen`: those of `prev` that nobody sees; `why`: it cannot stand there, whatever the rules of the room say.
    """

    prev: list[int]
    linear: bool
    group_before: int
    unseen: list[int] = field(default_factory=list)
    why: str | None = None


class Append:
    def __init__(self, server_name: str, rule_book: RuleBook) -> None:
        self._server_name = server_name
        self._rule_book = rule_book

    def __call__(self, room: LockedRoom, event: Event, sent: Sent | None = None) -> Accepted | SoftFailed | Rejected:
        """Judges `event` and records it with its verdict. What it refers to must be held already.

        The room's row is written by `room.save()`, after the last event of the transaction.
        """
        place = self._place(room, event)
        auth = self._auth_events(room, event)
        verdict = self._judge(room, event, place, auth)
        number = room.store.take_number()
        stored = StoredEvent(
            number, event, isinstance(verdict, Rejected), tuple(place.prev), tuple(one.number for one in auth)
        )
        room.add_event(stored)
        if isinstance(verdict, Accepted):
            self._accept(room, stored, place, sent or Sent())
        else:
            self._record(room, stored, place, verdict)
        return verdict

    def _place(self, room: LockedRoom, event: Event) -> _Place:
        row = room.row
        if set(event.prev_events) == set(row.extremity_ids):
            return _Place(row.extremities, True, row.state_group)
        known = room.store.events.list_by_ids(event.prev_events).values()
        own = [one for one in known if one.room == row.number and one.state_before is not None]
        why = None
        if len(own) < len(set(event.prev_events)):
            if not any(one.room != row.number for one in known):
                raise BrokenInvariant(f"{event.event_id} refers to events that are not held")
            why = "The event follows an event of another room."
        elif event.type == "m.room.create" and row.extremities:
            # NOTSPEC: the rules let it in, and a room of old versions would be torn apart by its own server.
            why = "The room has a create event already."
        groups = [one.state_after or one.state_before or 0 for one in own]
        unseen = [one.number for one in own if one.anchor is None]
        return _Place([one.number for one in own], False, merge_groups(room, groups), unseen, why)

    def _auth_events(self, room: LockedRoom, event: Event) -> list[StoredEvent]:
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

    def _judge(
        self, room: LockedRoom, event: Event, place: _Place, auth: list[StoredEvent]
    ) -> Accepted | SoftFailed | Rejected:
        if place.why is not None:
            return Rejected(place.why)
        before = room.lookup
        if not place.linear:
            before = _GroupLookup(room, place.group_before)
        verdict = judge(
            event,
            Context(
                auth_events={stored.event.event_id: stored.event for stored in auth},
                rejected=[stored.event.event_id for stored in auth if stored.rejected],
                state_before=before,
                current_state=room.lookup if not place.linear else before,
                create=None if event.type == "m.room.create" else room.lookup(CREATE),
                state_complete=room.row.state_complete,
            ),
        )
        if isinstance(verdict, Missing):
            raise BrokenInvariant(f"{event.event_id} cites events that are not held: {sorted(verdict.ids)}")
        return verdict

    def _record(self, room: LockedRoom, stored: StoredEvent, place: _Place, verdict: SoftFailed | Rejected) -> None:
        """Keeps an event that nobody sees. Its state is known, so that what follows it can be judged."""
        client, wire = split(stored.event.pdu)
        after, key = place.group_before, None
        if stored.event.is_state:
            key = room.store.state.intern_keys([stored.event.key])[stored.event.key]
            if isinstance(verdict, SoftFailed):
                after = room.store.take_number()
                room.store.state.add_group(after, room.row.number, place.group_before, {key: stored.number})
        room.store.events.add(
            NewEvent(
                number=stored.number, event=stored.event, room=room.row.number, position=None, anchor=None,
                client=client, wire=wire, prev=place.prev, auth=list(stored.auth),
                state_before=place.group_before, state_after=after, key=key, replaces=None, ordinals=[],
                rejected=verdict.why if isinstance(verdict, Rejected) else None,
                soft_failed=verdict.why if isinstance(verdict, SoftFailed) else None,
            )
        )  # fmt: skip

    def _accept(self, room: LockedRoom, stored: StoredEvent, place: _Place, sent: Sent) -> None:
        event, store = stored.event, room.store
        key: int | None = None
        after = place.group_before
        if event.is_state:
            key = store.state.intern_keys([event.key])[event.key]
            after = store.take_number()
            store.state.add_group(after, room.row.number, place.group_before, {key: stored.number})
        replaced = None
        if event.is_state:
            replaced = room.find(event.key) if place.linear else _GroupLookup(room, place.group_before).find(event.key)
        changes, extremities = self._new_state(room, stored, place, after, key, replaced)
        position = store.take_position()
        appended = Appended(stored, position, changes, place.linear, thread_root(event.content))
        members.apply(room, appended, self._server_name)
        ordinals = unread.apply(room, appended, self._rule_book)
        redactions.apply(room, appended)
        self._move(room, appended, extremities, ordinals)
        client, wire = split(event.pdu)
        store.events.add(
            NewEvent(
                number=stored.number, event=event, room=room.row.number, position=position, anchor=position,
                client=client, wire=wire, prev=place.prev, auth=list(stored.auth),
                state_before=place.group_before, state_after=None if key is None else after, key=key,
                replaces=None if replaced is None else replaced.number, ordinals=ordinals,
                thread_id=appended.thread_id, device_id=sent.device_id, txn_id=sent.txn_id,
                partial_state=not room.row.state_complete,
            )
        )  # fmt: skip
        if not store.trace:
            store.trace = f"SELECT 1 FROM events WHERE number = {stored.number}"
        self._publish(room, appended, client, replaced, sent)

    def _new_state(
        self,
        room: LockedRoom,
        stored: StoredEvent,
        place: _Place,
        after: int,
        key: int | None,
        replaced: StoredEvent | None,
    ) -> tuple[list[StateChange], list[tuple[int, str]]]:
        """What changes in the current state, and the room's new extremities. Moves the room's group."""
        row = room.row
        gone = set(place.prev) if not place.unseen else self._followed(room, place)
        kept = [one for one in zip(row.extremities, row.extremity_ids, strict=True) if one[0] not in gone]
        extremities = [*kept, (stored.number, stored.event.event_id)]
        if place.linear:
            if key is None:
                return [], extremities
            change = StateChange(stored.event.key, key, replaced, stored)
            room.move_state(after, {change.key: stored.number})
            return [change], extremities
        groups = [after]
        if kept:
            known = room.store.events.list_places([event_id for _, event_id in kept])
            groups += [group for _, group in known.values()]
        group = merge_groups(room, groups)
        changes = self._differences(room, group)
        room.move_state(group, {change.key: change.after.number if change.after else None for change in changes})
        return changes, extremities

    @staticmethod
    def _followed(room: LockedRoom, place: _Place) -> set[int]:
        """What an event follows, directly or through events that nobody sees: these end the room no more."""
        followed, unseen = set(place.prev), place.unseen
        while unseen:
            behind = {number for stored in room.events(unseen).values() for number in stored.prev} - followed
            followed |= behind
            rows = room.store.events.list_by_numbers(behind)
            unseen = [number for number, row in rows.items() if row.anchor is None]
        return followed

    @staticmethod
    def _differences(room: LockedRoom, group: int) -> list[StateChange]:
        """What differs between the current state and that of `group`."""
        state = room.store.state
        before, after = state.get_group(room.row.state_group), state.get_group(group)
        differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if not differing:
            return []
        names = state.name_keys(differing)
        events = room.events({event for part in (before, after) for key, event in part.items() if key in differing})
        return [
            StateChange(names[key], key, events.get(before.get(key, 0)), events.get(after.get(key, 0)))
            for key in sorted(differing)
        ]

    def _move(
        self, room: LockedRoom, appended: Appended, extremities: list[tuple[int, str]], ordinals: list[int]
    ) -> None:
        """Writes the changes of the current state, and brings the row up to date."""
        row, state = room.row, room.store.state
        for change in appended.changes:
            before = None if change.before is None else change.before.number
            if change.after is None:
                state.remove_current(row.number, row.state_generation, change.number)
                state.add_change(row.number, appended.position, change.number, before, None)
            else:
                after = change.after.number
                state.set_current(row.number, row.state_generation, change.number, after, appended.position)
                state.add_change(row.number, appended.position, change.number, before, after)
            if change.key == ("m.room.history_visibility", "") and change.after is not None:
                opens = change.after.event.content.get("history_visibility") in OPEN_VISIBILITIES
                room.row = replace(room.row, open_history=room.row.open_history and opens)
        depth = appended.stored.event.depth
        room.row = replace(
            room.row,
            extremities=[number for number, _ in extremities],
            extremity_ids=[event_id for _, event_id in extremities],
            depth=depth if appended.linear else max(row.depth, depth),
            last_anchor=appended.position,
            ordinals=ordinals,
            joined=room.row.joined + appended.joined,
            invited=room.row.invited + appended.invited,
        )

    def _publish(
        self, room: LockedRoom, appended: Appended, client: str, replaced: StoredEvent | None, sent: Sent
    ) -> None:
        event, row = appended.stored.event, room.row
        keys = [room_key(row.number)]
        keys += {
            user_key(change.key[1])
            for change in appended.changes
            if change.key[0] == "m.room.member" and self._is_local(change.key[1])
        }
        item = EventItem(
            room=row.number,
            room_id=row.room_id,
            number=appended.stored.number,
            event_id=event.event_id,
            sender=event.sender,
            type=event.type,
            state_key=event.state_key,
            membership=event.content.get("membership") if event.type == "m.room.member" else None,
            origin_server_ts=event.origin_server_ts,
            client=client if event.redacts is None else with_redacts(client),
            unsigned="" if replaced is None else replaced_members(replaced.event.event_id, replaced.event.content),
            device_id=sent.device_id,
            txn_id=sent.txn_id,
            classes=appended.classes,
            named=appended.named,
            thread_root=appended.thread_id,
            relates=relation_of(event.content) is not None,
            for_all_joined=appended.linear,
            is_current=any(change.after is appended.stored for change in appended.changes),
            gap_before=False,
            summary=self._summary(room, appended),
            redacted=appended.redacted,
            replaces=None if replaced is None else replaced.event.event_id,
        )
        room.store.publish(appended.position, keys, item)
        others = tuple(change.key for change in appended.changes if change.after is not appended.stored)
        if others:
            room.store.publish(appended.position, keys, StateItem(row.number, row.room_id, others))

    @staticmethod
    def _summary(room: LockedRoom, appended: Appended) -> Summary | None:
        """Who is in the room and after whom it may be called, if that changed."""
        if not any(change.key[0] == "m.room.member" or change.key[0] in NAMING for change in appended.changes):
            return None
        heroes = room.store.memberships.list_first(room.row.number, HEROES + 1)
        return Summary(room.row.joined, room.row.invited, tuple(heroes))

    def _is_local(self, user_id: str) -> bool:
        return ":" in user_id and domain_of(user_id) == self._server_name


def _of_another_room(store: Store, row: EventRow) -> StoredEvent:
    """An event that cannot authorise one of this room, as it stands in its own."""
    room = store.rooms.list_by_numbers([row.room])[0]
    return store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, [row.number])[row.number]


class _GroupLookup:
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
