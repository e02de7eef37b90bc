"""History of a room from before what we have of it, fetched when somebody reads there.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from federation.inbound.gaps import MAX_SERVERS, Checks, Gaps
from federation.inbound.pdus import good_events
from federation.peers import Peers
from homeserver.domain.errors import RemoteError
from homeserver.domain.event import Event
from homeserver.domain.event_order import oldest_first
from homeserver.services.rooms.remote.backfilling import MAX_BATCH, Backfilling, Gap
from homeserver.services.rooms.remote.receiving import RemoteEvents
from homeserver.telemetry.metrics import FEDERATION_GAPS

logger = logging.getLogger(__name__)

# Events of one answer whose state has to be asked for: each begins a branch of its own.
MAX_STATES = 10
# Answers that are fetched to find an event by its time.
MAX_NEAR = 5


class RemoteHistory:
    """`homeserver.services.rooms.history.Beyond`, and `MissingHistory` of `timestamps`."""

    def __init__(
        self, events: RemoteEvents, backfilling: Backfilling, gaps: Gaps, peers: Peers, checks: Checks
    ) -> None:
        self._events = events
        self._backfilling = backfilling
        self._gaps = gaps
        self._peers = peers
        self._checks = checks
        # Gaps that are being filled: whoever else reads there waits for the same answer.
        self._under_way: dict[int, asyncio.Task[bool]] = {}

    async def fill(self, gap: Gap) -> bool:
        """Whether anything was put into the gap, or it turned out to be none."""
        task = self._under_way.get(gap.number)
        if task is None:
            task = self._under_way[gap.number] = asyncio.create_task(self._fill(gap))
            task.add_done_callback(lambda _: self._under_way.pop(gap.number, None))
        return await asyncio.shield(task)

    async def fetch_near(self, room_id: str, ts: int, backwards: bool) -> bool:
        """Fills the newest gaps of the room, a bounded part of them, until what stands there is older than `ts` (ms).
        Whether anything came."""
        came = False
        for _ in range(MAX_NEAR):
            gap = await self._backfilling.newest_gap(room_id)
            if gap is None or (came and gap.ts < ts) or not await self.fill(gap):
                break
            came = True
        return came

    async def _fill(self, gap: Gap) -> bool:
        if not gap.missing:
            await self._backfilling.close(gap)
            return True
        servers = await self._events.servers(gap.room_id, MAX_SERVERS)
        answered = bool(servers)
        for server in servers:
            try:
                if await self._fill_from(server, gap):
                    return True
            except RemoteError as error:
                logger.info("%s gives no history of %s: %s", server, gap.room_id, error)
                answered = False
        if answered:
            # Everybody was asked, and nobody has it.
            await self._backfilling.close(gap)
        return answered

    async def _fill_from(self, server: str, gap: Gap) -> bool:
        """Whether it has anything of what is missing. Raises RemoteError, also if it has, and keeps back the states
        that are needed."""
        pdus = await self._peers.backfill(server, gap.room_id, gap.missing, MAX_BATCH)
        checked = await self._checks.check(gap.version, pdus, room_id=gap.room_id)
        found = {event.event_id: event for event in good_events(checked, gap.room_id)}
        held = await self._events.held(found)
        new = {
            event_id: event for event_id, event in found.items() if event_id not in held or not held[event_id].placed
        }
        new = leading_to(gap, new)
        if not new:
            return False
        events = oldest_first(new)[-MAX_BATCH:]
        await self._gaps.fetch_cited(gap.room_id, gap.version, events, [server])
        states: dict[str, list[str]] = {}
        refusal: RemoteError | None = None
        for event in await self._beginnings(events):
            try:
                states[event.event_id] = await self._gaps.fetch_state(gap.room_id, gap.version, event, [server])
            except RemoteError as error:
                logger.info("%s does not tell the state before %s: %s", server, event.event_id, error)
                refusal = error
        added = await self._backfilling.add(gap, events, states)
        FEDERATION_GAPS.labels("history").inc(added)
        if not added and refusal is not None:
            raise refusal
        return added > 0

    async def _beginnings(self, events: Sequence[Event]) -> list[Event]:
        """Those that follow something which is neither held nor among them; the newest of them, if there are many."""
        among = {event.event_id for event in events}
        followed = {one for event in events for one in event.prev_events} - among
        held = await self._events.held(followed)
        absent = {one for one in followed if one not in held or not held[one].placed}
        return [event for event in events if absent.intersection(event.prev_events)][-MAX_STATES:]


def leading_to(gap: Gap, events: Mapping[str, Event]) -> dict[str, Event]:
    """Those that belong into this gap. What lies beyond events that have their place belongs into an older one, and is
    asked for again when somebody reads there."""
    found: dict[str, Event] = {}
    ahead = list(gap.missing)
    while ahead:
        event = events.get(ahead.pop())
        if event is not None and event.event_id not in found:
            found[event.event_id] = event
            ahead += event.prev_events
    return found
