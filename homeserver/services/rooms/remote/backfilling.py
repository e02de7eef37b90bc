"""History from before a gap: found where it is missing, and put there once another server has given it.

Events that fill the gap before an event E have E's anchor, and ranks below all that stand there (architecture.md, part
6): so history stays in the order in which readers page through it, and no peer's `depth` decides anything.
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeserver.domain.event import Event
from homeserver.domain.event_order import oldest_first
from homeserver.domain.redaction import redact
from homeserver.domain.verdict import Accepted, Rejected
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.placing import (
    Arrival,
    GroupLookup,
    Placement,
    find_auth_events,
    find_placement,
    judge_in_room,
    record_hidden,
)
from homeserver.services.rooms.projections import redactions, relations
from homeserver.services.rooms.remote.claims import claim_state
from homeserver.services.rooms.remote.missing import find_missing
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.events import Held, NewEvent, StoredEvent, split
from homeserver.storage.history import Place
from homeserver.storage.store import Store

# So many events become visible in one transaction.
MAX_BATCH = 100
# So many of the events that are missing are asked for by their ids: those before them come with them.
MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing just before `event_id`, which says to be of `ts` (ms); `missing` are the nearest of them that
    are known by their ids, which it follows directly or behind what nobody sees. None: the gap was filled from another
    side."""

    room_id: str
    version: RoomVersion
    event_id: str
    number: int
    place: Place
    missing: tuple[str, ...]
    ts: int


class Backfilling:
    def __init__(self, database: Persistence, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def find_gap(self, room_id: str, newest: Place, oldest: Place) -> Gap | None:
        """The newest gap in a part of the room's history. Raises NotFound."""

        def work(store: Store) -> Gap | None:
            row = store.rooms.get(room_id)
            found = store.history.find_gap(row.number, newest, oldest)
            if found is None:
                return None
            version = ROOM_VERSIONS[row.version]
            missing = find_missing(store, row, [found.number]).ids[:MAX_NAMED]
            place = Place(found.anchor or 0, found.rank)
            return Gap(room_id, version, found.event_id, found.number, place, tuple(missing), found.origin_server_ts)

        return await self._database.read(work)

    async def newest_gap(self, room_id: str) -> Gap | None:
        """Raises NotFound."""
        return await self.find_gap(room_id, Place(2**62), Place(0, 0))

    async def add(self, gap: Gap, events: Sequence[Event], states: Mapping[str, Sequence[str]]) -> int:
        """Puts history into the gap, at most `MAX_BATCH` events, checked (checks 1 to 3), in any order.

        `states`: by event id, the ids of the state before those of them that follow what is not held; an event for
        which it is needed and not given is left out, and so is what follows it. What the events cite is held. Returns
        how many were added.
        """
        if len(events) > MAX_BATCH:
            raise ValueError(f"at most {MAX_BATCH} events at once")

        def work(store: Store) -> int:
            room = self._writer.open(store, gap.room_id)
            batch = {event.event_id: event for event in events if event.room_id == gap.room_id}
            cited = {one for event in batch.values() for one in (*event.prev_events, *event.auth_events)}
            held = store.events.list_held({gap.event_id, *batch, *cited})
            early = store.redactions.list_early(batch)
            rank = store.history.lowest_rank(room.row.number, gap.place.anchor) - len(batch)
            before = store.history.page_backwards(room.row.number, Place(gap.place.anchor, rank), Place(0, 0), 1)
            ordinals = before[0].ordinals if before else []
            added = 0
            for event in oldest_first(batch):
                rank += 1
                own = held.get(event.event_id)
                if (own is not None and own.placed) or any(one not in held for one in event.auth_events):
                    continue
                place = Place(gap.place.anchor, rank - 1)
                arrival = self._arrival(room, event, held, states, early.get(event.event_id, ()))
                if arrival is not None:
                    held[event.event_id] = self._add_one(room, event, arrival, place, ordinals)
                    added += 1
            self._close(store, room, gap)
            return added

        return await self._database.write(work, room=gap.room_id)

    async def close(self, gap: Gap) -> None:
        """Nothing is missing here, or no server has it: readers pass over it."""

        def work(store: Store) -> None:
            self._close(store, self._writer.open(store, gap.room_id), gap, given_up=True)

        await self._database.write(work, room=gap.room_id)

    @staticmethod
    def _arrival(
        room: LockedRoom,
        event: Event,
        held: Mapping[str, Held],
        states: Mapping[str, Sequence[str]],
        early: Sequence[int],
    ) -> Arrival | None:
        """None if nobody tells the state before it."""
        own = held.get(event.event_id)
        outlier = None if own is None else own.number
        if all(one in held and held[one].placed for one in event.prev_events):
            return Arrival(outlier, early=early, history=True)
        if event.event_id not in states:
            return None
        return Arrival(outlier, claim_state(room, states[event.event_id]), early=early, history=True)

    def _add_one(self, room: LockedRoom, event: Event, arrival: Arrival, at: Place, ordinals: list[int]) -> Held:
        place = find_placement(room, event, arrival)
        auth = find_auth_events(room, event)
        verdict = judge_in_room(room, event, place, auth, arrival)
        number = room.store.take_number() if arrival.outlier is None else arrival.outlier
        rejected = isinstance(verdict, Rejected)
        stored = StoredEvent(number, event, rejected, tuple(place.prev), tuple(one.number for one in auth))
        if arrival.outlier is None:
            room.add_event(stored)
        else:
            room.place_event(stored)
        if isinstance(verdict, Accepted):
            self._show(room, stored, arrival, place, at, ordinals)
        else:
            record_hidden(room, stored, place, verdict, arrival)
        return Held(number, room.row.number, True, rejected, False)

    @staticmethod
    def _show(
        room: LockedRoom, stored: StoredEvent, arrival: Arrival, place: Placement, at: Place, ordinals: list[int]
    ) -> None:
        event, store = stored.event, room.store
        key, after, replaced = None, place.group_before, None
        if event.is_state:
            key = store.state.intern_keys([event.key])[event.key]
            after = store.take_number()
            store.state.add_group(after, room.row.number, place.group_before, {key: stored.number})
            replaced = GroupLookup(room, place.group_before).find(event.key)
        redaction = redactions.find_early(room, stored, arrival.early)
        client, wire = split(event.pdu if redaction is None else redact(room.version, event.pdu))
        thread = relations.find_thread(room, event)
        position = store.take_position()
        appended = Appended(stored, position, [], False, thread)
        redactions.apply(room, appended)
        if redaction is None:
            relations.apply(room, stored, at)
        write = store.events.add if arrival.outlier is None else store.events.place
        write(
            NewEvent(
                number=stored.number, event=event, room=room.row.number, position=position, anchor=at.anchor,
                rank=at.rank, live=False, gap_before=place.gap, client=client, wire=wire, prev=place.prev,
                auth=list(stored.auth), state_before=place.group_before, state_after=None if key is None else after,
                key=key, replaces=None if replaced is None else replaced.number, ordinals=ordinals,
                thread_id=appended.thread_id,
            )
        )  # fmt: skip
        if redaction is not None:
            store.events.redact(stored.number, redaction.event.event_id, client, wire)
            store.redactions.remove_early(event.event_id)
            room.drop_event(stored.number)
        if not store.trace:
            store.trace = f"SELECT 1 FROM events WHERE number = {stored.number} AND anchor = {at.anchor}"

    @staticmethod
    def _close(store: Store, room: LockedRoom, gap: Gap, *, given_up: bool = False) -> None:
        """Links the events after a gap to what was put there: who walks the graph shall get across. Closes it once
        nothing is missing."""
        missing = find_missing(store, room.row, [gap.number])
        for number, link in missing.links.items():
            if link.noted != set(link.held):
                room.link_event(number, link.held)
        if given_up or not missing.ids:
            store.events.close_gaps(missing.links)
