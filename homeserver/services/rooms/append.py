"""THE place where an event enters a room.

A local send and a remote PDU come the same way, and differ only in what is done with the verdict: raise, or record.
The room's row is locked. What is appended is judged by the state before it and by the current state, gets its number,
its position and its state groups, moves the room's extremities, and is told to the projections, which keep the tables
that follow from it. https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from dataclasses import dataclass, replace

from homeserver.domain.event import Event
from homeserver.domain.identifiers import domain_of
from homeserver.domain.redaction import redact
from homeserver.domain.relations import relation_of
from homeserver.domain.verdict import Accepted, Rejected, SoftFailed
from homeserver.services.client_form import replaced_members, with_redacts
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.rooms.changes import Appended, StateChange
from homeserver.services.rooms.merging import merge_groups
from homeserver.services.rooms.placing import (
    HERE,
    Arrival,
    GroupLookup,
    Placement,
    find_auth_events,
    find_placement,
    judge_in_room,
    record_hidden,
)
from homeserver.services.rooms.projections import members, moving, redactions, relations, servers, unread
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import NewEvent, StoredEvent, split
from homeserver.storage.history import Place
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.publications import EventItem, StateItem, Summary

# What a room is called, and who is in it, follows from these.
HEROES = 5
NAMING = frozenset({"m.room.name", "m.room.canonical_alias"})
# Events that nobody sees, behind which it is looked for ends of the room. One that lies deeper stays an end until the
# next event of ours follows it.
MAX_UNSEEN = 1_000
OPEN_VISIBILITIES = ("shared", "world_readable")


@dataclass(frozen=True, slots=True)
class Sent:
    """Which device of ours sent an event, and with which transaction id."""

    device_id: str | None = None
    txn_id: str | None = None


class Append:
    def __init__(self, server_name: str, rule_book: RuleBook) -> None:
        self._server_name = server_name
        self._rule_book = rule_book

    def __call__(
        self, room: LockedRoom, event: Event, sent: Sent | None = None, arrival: Arrival = HERE
    ) -> Accepted | SoftFailed | Rejected:
        """Judges `event` and records it with its verdict. What it refers to must be held already, except what it
        follows if the state before it is claimed.

        The room's row is written by `room.save()`, after the last event of the transaction.
        """
        place = find_placement(room, event, arrival)
        auth = find_auth_events(room, event)
        verdict = judge_in_room(room, event, place, auth, arrival)
        number = room.store.take_number() if arrival.outlier is None else arrival.outlier
        stored = StoredEvent(
            number, event, isinstance(verdict, Rejected), tuple(place.prev), tuple(one.number for one in auth)
        )
        if arrival.outlier is None:
            room.add_event(stored)
        else:
            room.place_event(stored)
        if isinstance(verdict, Accepted):
            self._accept(room, stored, place, sent or Sent(), arrival)
        else:
            record_hidden(room, stored, place, verdict, arrival)
        return verdict

    def _accept(self, room: LockedRoom, stored: StoredEvent, place: Placement, sent: Sent, arrival: Arrival) -> None:
        event, store = stored.event, room.store
        key: int | None = None
        after = place.group_before
        if event.is_state:
            key = store.state.intern_keys([event.key])[event.key]
            after = store.take_number()
            store.state.add_group(after, room.row.number, place.group_before, {key: stored.number})
        replaced = None
        if event.is_state:
            replaced = room.find(event.key) if place.linear else GroupLookup(room, place.group_before).find(event.key)
        changes, extremities = self._new_state(room, stored, place, after, key, replaced, arrival.entering)
        thread = relations.find_thread(room, event)
        position = store.take_position()
        appended = Appended(stored, position, changes, place.linear, thread)
        members.apply(room, appended, self._server_name)
        servers.apply(room, appended, self._server_name)
        redaction = redactions.find_early(room, stored, arrival.early)
        ordinals = list(room.row.ordinals) if redaction else unread.apply(room, appended, self._rule_book)
        redactions.apply(room, appended)
        if redaction is None:
            relations.apply(room, stored, Place(position, 0))
        self._move(room, appended, extremities, ordinals)
        client, wire = split(event.pdu if redaction is None else redact(room.version, event.pdu))
        write = store.events.add if arrival.outlier is None else store.events.place
        write(
            NewEvent(
                number=stored.number, event=event, room=room.row.number, position=position, anchor=position,
                gap_before=place.gap, client=client, wire=wire, prev=place.prev, auth=list(stored.auth),
                state_before=place.group_before, state_after=None if key is None else after, key=key,
                replaces=None if replaced is None else replaced.number, ordinals=ordinals,
                thread_id=appended.thread_id, device_id=sent.device_id, txn_id=sent.txn_id,
                partial_state=not room.row.state_complete,
            )
        )  # fmt: skip
        if redaction is not None:
            store.events.redact(stored.number, redaction.event.event_id, client, wire)
            store.redactions.remove_early(event.event_id)
            room.drop_event(stored.number)
        if not store.trace:
            store.trace = f"SELECT 1 FROM events WHERE number = {stored.number} AND anchor = {position}"
        self._publish(room, appended, client, replaced, sent, place.gap)
        moving.apply(room, appended, self._server_name, self._rule_book)

    def _new_state(
        self,
        room: LockedRoom,
        stored: StoredEvent,
        place: Placement,
        after: int,
        key: int | None,
        replaced: StoredEvent | None,
        entering: bool,
    ) -> tuple[list[StateChange], list[tuple[int, str]]]:
        """What changes in the current state, and the room's new extremities. Moves the room's group."""
        row = room.row
        gone = set(place.prev)
        if place.unseen:
            # What an event follows through events that nobody sees ends the room no more.
            gone |= room.store.graph.list_behind_unseen(place.unseen, MAX_UNSEEN)
        kept = [one for one in zip(row.extremities, row.extremity_ids, strict=True) if one[0] not in gone]
        if entering:
            kept = []
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
    def _differences(room: LockedRoom, group: int) -> list[StateChange]:
        """What differs between the current state and that of `group`."""
        state = room.store.state
        before, after = state.get_group(room.row.state_group), state.get_group(group)
        differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if not differing:
            return []
        events = room.events({event for part in (before, after) for key, event in part.items() if key in differing})
        changes: list[StateChange] = []
        for key in sorted(differing):
            was, now = events.get(before.get(key, 0)), events.get(after.get(key, 0))
            named = now or was
            assert named is not None, "the key differs, so that an event stands there on one side"
            changes.append(StateChange(named.event.key, key, was, now))
        return changes

    def _move(
        self, room: LockedRoom, appended: Appended, extremities: list[tuple[int, str]], ordinals: list[int]
    ) -> None:
        """Writes the changes of the current state, and brings the row up to date."""
        row, state = room.row, room.store.state
        changes = [
            (
                change.number,
                None if change.before is None else change.before.number,
                None if change.after is None else change.after.number,
            )
            for change in appended.changes
        ]
        state.change_current(row.number, row.state_generation, appended.position, changes)
        for change in appended.changes:
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
        self,
        room: LockedRoom,
        appended: Appended,
        client: str,
        replaced: StoredEvent | None,
        sent: Sent,
        gap: bool,
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
            gap_before=gap,
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
