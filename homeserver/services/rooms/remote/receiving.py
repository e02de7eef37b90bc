"""Events of other servers enter a room that we are in.

What comes here was checked for its format, signatures and hash (checks 1 to 3). What an event refers to must be held
before it is let in: if not, it is said what is missing, and whoever received the event fetches it, or says at last that
nobody has it. https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeserver.domain.event import Event, read_event
from homeserver.domain.redaction import redact
from homeserver.domain.verdict import Accepted, Rejected, SoftFailed
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.placing import Arrival
from homeserver.services.rooms.remote.claims import claim_state
from homeserver.services.rooms.remote.missing import find_missing
from homeserver.services.rooms.remote.outliers import add_outliers
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.events import Held
from homeserver.storage.store import Store


@dataclass(frozen=True, slots=True)
class Known:
    """The event was here already."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """What the event follows (`prev`) and what it cites (`auth`) that is not held."""

    prev: frozenset[str]
    auth: frozenset[str]


@dataclass(frozen=True, slots=True)
class Frontier:
    """Where the room ends, as far as we know. `min_depth`: nothing older than this is asked for. `before_gaps`: ids of
    events that ours follow and that are not held: they, and what is before them, are history."""

    event_ids: list[str]
    min_depth: int
    before_gaps: frozenset[str]


# Gaps that are looked at for what is history.
MAX_GAPS = 100

Outcome = Accepted | SoftFailed | Rejected | Known | Incomplete


class RemoteEvents:
    def __init__(self, database: Persistence, writer: Writer, append: Append) -> None:
        self._database = database
        self._writer = writer
        self._append = append

    async def version(self, room_id: str) -> RoomVersion | None:
        """The room's version, if anybody of this server is joined; else None."""
        found = await self._database.read(lambda store: store.rooms.find_residence(room_id), single=True)
        return ROOM_VERSIONS[found[1]] if found is not None and found[2] else None

    async def held(self, event_ids: Iterable[str]) -> dict[str, Held]:
        """Those of `event_ids` that are stored."""
        wanted = list(event_ids)
        return await self._database.read(lambda store: store.events.list_held(wanted), single=True)

    async def frontier(self, room_id: str) -> Frontier:
        """Raises NotFound."""

        def work(store: Store) -> Frontier:
            row = store.rooms.get(room_id)
            gaps = store.history.list_gaps(row.number, MAX_GAPS)
            missing = find_missing(store, row, gaps)
            return Frontier(row.extremity_ids, max(0, row.depth - 1_000), frozenset(missing.ids))

        return await self._database.read(work)

    async def servers(self, room_id: str, limit: int) -> list[str]:
        """Other servers that are in the room, those that are in it for longest first. Raises NotFound."""

        def work(store: Store) -> list[str]:
            return store.residents.list_servers(store.rooms.get(room_id).number, limit)

        return await self._database.read(work)

    async def append(self, room_id: str, events: Sequence[Event], *, relay: bool = False) -> list[Outcome]:
        """An outcome for each event, in order; what is Incomplete was not stored, whatever comes after it.

        `relay`: they enter the room through us, so that we send them to its other servers.
        """

        def work(store: Store) -> list[Outcome]:
            room = self._writer.open(store, room_id)
            held = store.events.list_held(
                {one for event in events for one in (event.event_id, *event.prev_events, *event.auth_events)}
            )
            early = store.redactions.list_early([event.event_id for event in events])
            outcomes: list[Outcome] = []
            for event in events:
                outcome = self._append_one(room, event, held, early.get(event.event_id, ()), relay)
                outcomes.append(outcome)
                if not isinstance(outcome, Known | Incomplete):
                    rejected = isinstance(outcome, Rejected)
                    held[event.event_id] = Held(0, room.row.number, True, rejected, False)
            if any(not isinstance(outcome, Known | Incomplete) for outcome in outcomes):
                room.save()
            return outcomes

        return await self._database.write(work, room=room_id)

    async def add_outliers(self, room_id: str, version: RoomVersion, events: Sequence[Event]) -> list[Event]:
        """Stores auth events and events of the state, in any order. Returns those that could not be judged, because
        something that they cite is neither held nor among them. Raises NotFound for a room that is not known."""

        def work(store: Store) -> list[Event]:
            room = store.rooms.get(room_id)
            return add_outliers(store, version, room.number, room_id, events)

        return await self._database.write(work)

    async def append_after_gap(
        self, room_id: str, event: Event, state_ids: Sequence[str]
    ) -> Accepted | SoftFailed | Rejected | Known:
        """Lets an event in that follows events which nobody gives us.

        `state_ids` is the state before it as another server tells it, all of it held; it is resolved with the states
        after those events that it follows and that we do hold. Raises RemoteError if that can be no state of the room.
        """

        def work(store: Store) -> Accepted | SoftFailed | Rejected | Known:
            room = self._writer.open(store, room_id)
            held = store.events.list_held([event.event_id]).get(event.event_id)
            if held is not None and held.placed:
                return Known()
            claimed = claim_state(room, state_ids)
            early = store.redactions.list_early([event.event_id]).get(event.event_id, ())
            arrival = Arrival(None if held is None else held.number, claimed, early=early)
            verdict = self._append(room, _as_held(event, held), arrival=arrival)
            room.save()
            return verdict

        return await self._database.write(work, room=room_id)

    def _append_one(
        self, room: LockedRoom, event: Event, held: Mapping[str, Held], early: Sequence[int], relay: bool
    ) -> Outcome:
        own = held.get(event.event_id)
        if own is not None and (own.placed or own.room != room.row.number or event.type == "m.room.create"):
            return Known()
        # An event of another room is held, and gets this one rejected.
        prev = [one for one in event.prev_events if one not in held or not _is_usable(held[one], room)]
        auth = [one for one in event.auth_events if one not in held]
        if prev or auth:
            return Incomplete(frozenset(prev), frozenset(auth))
        arrival = Arrival(None if own is None else own.number, early=early)
        verdict = self._append(room, _as_held(event, own), arrival=arrival)
        if relay and isinstance(verdict, Accepted):
            room.store.relays.add(room.current_by_id([event.event_id])[0].number)
        return verdict


def _is_usable(held: Held, room: LockedRoom) -> bool:
    return held.placed or held.room != room.row.number


def _as_held(event: Event, held: Held | None) -> Event:
    """If it was redacted before it got its place, it keeps the form that is left of it."""
    if held is None or not held.redacted:
        return event
    return read_event(event.version, event.event_id, redact(event.version, event.pdu), event.room_id)
