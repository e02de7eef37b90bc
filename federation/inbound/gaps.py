"""What closes the way to a received event: the events that it follows, what authorises them, or the state before it.

First the events between our end of the room and the received one are asked for; they are as live as if they had come by
themselves. Where they cannot be had, or are too many, the state before the event is asked for, and a gap remains that
is filled when somebody reads there. All rounds are bounded, whatever the other server answers.
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from federation.inbound.pdus import Checked, Refused, good_events
from federation.peers import Pdu, StateIds
from homeserver.domain.errors import RemoteError
from homeserver.domain.event import Event
from homeserver.domain.event_order import oldest_first
from homeserver.domain.versions import RoomVersion
from homeserver.services.rooms.remote.receiving import Incomplete, Outcome, RemoteEvents
from homeserver.telemetry.metrics import FEDERATION_GAPS

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Events that are fetched to close the way to one: more than that is history.
MAX_MISSING = 100
PAGE = 50
MAX_ROUNDS = 6
# States, and chains of what authorises, that are fetched for the events between: who makes up more wants us busy.
MAX_FETCHES = 20
# Servers that are asked for the same thing, the sender of the event first.
MAX_SERVERS = 4
# Events of a state that are asked for one by one, so many at a time; if more are missing, the whole state is fetched.
MAX_SINGLE = 40
AT_ONCE = 5
BATCH = 500


class Peers(Protocol):
    async def missing_events(
        self, server: str, room_id: str, earliest: Sequence[str], latest: Sequence[str], limit: int, min_depth: int
    ) -> list[Pdu]: ...
    async def event(self, server: str, event_id: str) -> Pdu: ...
    async def event_auth(self, server: str, room_id: str, event_id: str) -> list[Pdu]: ...
    async def state_ids(self, server: str, room_id: str, event_id: str) -> StateIds: ...
    async def state(self, server: str, room_id: str, event_id: str) -> tuple[list[Pdu], list[Pdu]]: ...


class Checks(Protocol):
    async def check(
        self, version: RoomVersion, pdus: Sequence[object], *, room_id: str | None = None
    ) -> list[Checked | Refused]: ...


@dataclass(slots=True)
class _Allowance:
    """How much may still be fetched."""

    left: int

    def take(self) -> None:
        if self.left <= 0:
            raise RemoteError(f"more than {MAX_FETCHES} states and auth chains are missing on the way to an event")
        self.left -= 1


class Gaps:
    def __init__(self, events: RemoteEvents, peers: Peers, checks: Checks) -> None:
        self._events = events
        self._peers = peers
        self._checks = checks

    async def let_in(self, room_id: str, version: RoomVersion, event: Event, origin: str) -> Outcome:
        """Appends an event that was checked, after fetching what it needs. Raises RemoteError if that cannot be had."""
        outcome = (await self._events.append(room_id, [event]))[0]
        if not isinstance(outcome, Incomplete):
            return outcome
        servers = await self._servers(room_id, origin)
        between: dict[str, Event] = {}
        if outcome.prev:
            between = await self._between(room_id, version, event, servers)
        allowance = _Allowance(MAX_FETCHES)
        for one in oldest_first(between):
            try:
                await self._append(room_id, version, one, servers, allowance)
            except RemoteError as error:
                # What follows it finds out whether it can do without.
                logger.info("an event on the way to a received one was left out: %s", error)
        return await self._append(room_id, version, event, servers, _Allowance(MAX_FETCHES))

    async def fetch_cited(
        self, room_id: str, version: RoomVersion, events: Iterable[Event], servers: Sequence[str]
    ) -> None:
        """Brings in what authorises these events, as far as it is missing. Raises RemoteError."""
        wanted = list(events)
        cited = {one for event in wanted for one in event.auth_events}
        missing = cited - (await self._events.held(cited)).keys()
        for event in wanted:
            if missing.intersection(event.auth_events):
                await self._fetch_auth(room_id, version, event, servers)
                missing -= (await self._events.held(missing)).keys()

    async def fetch_state(self, room_id: str, version: RoomVersion, event: Event, servers: Sequence[str]) -> list[str]:
        """The ids of the state before an event, which all are held then. Raises RemoteError."""
        return await self._from_any(servers, lambda server: self._fetch_state(server, room_id, version, event))

    async def _servers(self, room_id: str, origin: str) -> list[str]:
        others = await self._events.servers(room_id, MAX_SERVERS)
        return [origin, *(server for server in others if server != origin)][:MAX_SERVERS]

    async def _between(
        self, room_id: str, version: RoomVersion, event: Event, servers: Sequence[str]
    ) -> dict[str, Event]:
        """The events between our end of the room and this one, as far as they can be had."""
        frontier = await self._events.frontier(room_id)
        earliest = frontier.event_ids[:20]
        found: dict[str, Event] = {}
        latest, server = [event.event_id], 0
        for _ in range(MAX_ROUNDS):
            try:
                pdus = await self._peers.missing_events(
                    servers[server], room_id, earliest, latest, min(PAGE, MAX_MISSING - len(found)), frontier.min_depth
                )
            except RemoteError as error:
                logger.info("missing events of %s: %s", room_id, error)
                pdus = []
            new = {one.event_id: one for one in await self._check(room_id, version, pdus)}
            if not new.keys() - found.keys() - {event.event_id}:
                server += 1
                if server == len(servers):
                    break
                continue
            found.update(new)
            found.pop(event.event_id, None)
            latest = await self._open_ends(found, event)
            if not latest or len(found) >= MAX_MISSING:
                break
        FEDERATION_GAPS.labels("missing_events").inc(len(found))
        _leave_out_history(found, frontier.before_gaps)
        return found

    async def _open_ends(self, found: Mapping[str, Event], event: Event) -> list[str]:
        """Which of the events follow something that is neither held nor among them."""
        followed = {one for each in (*found.values(), event) for one in each.prev_events} - found.keys()
        held = await self._events.held(followed)
        absent = {one for one in followed if one not in held or not held[one].placed}
        return [each.event_id for each in (*found.values(), event) if absent.intersection(each.prev_events)][:20]

    async def _append(
        self, room_id: str, version: RoomVersion, event: Event, servers: Sequence[str], allowance: _Allowance
    ) -> Outcome:
        """Raises RemoteError if what it needs cannot be had."""
        outcome = (await self._events.append(room_id, [event]))[0]
        if isinstance(outcome, Incomplete) and outcome.auth:
            allowance.take()
            await self._fetch_auth(room_id, version, event, servers)
            outcome = (await self._events.append(room_id, [event]))[0]
        if isinstance(outcome, Incomplete) and outcome.prev:
            allowance.take()
            state = await self.fetch_state(room_id, version, event, servers)
            FEDERATION_GAPS.labels("state").inc()
            return await self._events.append_after_gap(room_id, event, state)
        if isinstance(outcome, Incomplete):
            raise RemoteError(f"{event.event_id} cites {len(outcome.auth)} events that nobody has")
        return outcome

    async def _fetch_auth(self, room_id: str, version: RoomVersion, event: Event, servers: Sequence[str]) -> None:
        async def ask(server: str) -> None:
            chain = await self._check(room_id, version, await self._peers.event_auth(server, room_id, event.event_id))
            await self._add_outliers(room_id, version, chain)
            missing = set(event.auth_events) - (await self._events.held(event.auth_events)).keys()
            if missing:
                raise RemoteError(f"{server} does not tell {len(missing)} events that authorise {event.event_id}")

        await self._from_any(servers, ask)

    async def _fetch_state(self, server: str, room_id: str, version: RoomVersion, event: Event) -> list[str]:
        told = await self._peers.state_ids(server, room_id, event.event_id)
        wanted = {*told.state, *told.auth_chain}
        missing = wanted - (await self._events.held(wanted)).keys()
        if len(missing) > MAX_SINGLE:
            state, chain = await self._peers.state(server, room_id, event.event_id)
            await self._add_outliers(room_id, version, await self._check(room_id, version, [*chain, *state]))
        elif missing:
            await self._add_outliers(room_id, version, await self._fetch_single(server, room_id, version, missing))
        # An event of the state that its own server does not vouch for is none of it.
        held = await self._events.held(told.state)
        return [event_id for event_id in told.state if event_id in held]

    async def _fetch_single(
        self, server: str, room_id: str, version: RoomVersion, event_ids: Collection[str]
    ) -> list[Event]:
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(event_id: str) -> Pdu:
            async with places:
                return await self._peers.event(server, event_id)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_result_or_error(ask(event_id))) for event_id in event_ids]
        pdus = [answer for task in tasks if not isinstance(answer := task.result(), RemoteError)]
        return await self._check(room_id, version, pdus)

    async def _check(self, room_id: str, version: RoomVersion, pdus: Sequence[Pdu]) -> list[Event]:
        return good_events(await self._checks.check(version, pdus, room_id=room_id), room_id)

    async def _add_outliers(self, room_id: str, version: RoomVersion, events: Sequence[Event]) -> None:
        left: list[Event] = []
        for start in range(0, len(events), BATCH):
            batch = [*left, *events[start : start + BATCH]]
            left = await self._events.add_outliers(room_id, version, batch)

    @staticmethod
    async def _from_any(servers: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> T:
        """What the first server tells that can. Raises the error of the first one."""
        first: RemoteError | None = None
        for server in servers:
            try:
                return await ask(server)
            except RemoteError as error:
                first = first or error
        raise first or RemoteError("there is no other server in the room")


def _leave_out_history(found: dict[str, Event], before_gaps: Iterable[str]) -> None:
    """What is before a gap that we know of is not on the way to anything new: readers fetch it when they get there."""
    ready = [one for one in before_gaps if one in found]
    while ready:
        event = found.pop(ready.pop(), None)
        if event is not None:
            ready += [one for one in event.prev_events if one in found]


async def _result_or_error(asked: Awaitable[T]) -> T | RemoteError:
    try:
        return await asked
    except RemoteError as error:
        return error
