"""What we tell other servers: to each what concerns it, in order, at least once, whatever happens in between.

    events (a follower) ---\
    receipts, typing -------+--> the destination of each server --> one transaction at a time
    presence --------------/

A message to a server that answers is written to no table: it goes from the follower through memory into a transaction.
The cursor stays where every server has everything; it is written down once a second. A server that keeps others waiting
gets a row of its own, from where it goes on, and the cursor passes it. After a crash everything comes again from the
cursor and from these rows: what was taken already does no harm, and nothing is left out.

`Outbox` is the source and the act of its follower, and where `OutgoingEdus` gives what it has.
https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from federation.outbound.destination import Courier, Destination
from federation.outbound.schedule import Schedule
from homeserver.domain.errors import Unavailable
from homeserver.services.rooms.remote.outgoing import Missed, OutgoingEvent, OutgoingReceipt
from homeserver.services.rooms.remote.progress import Kept, Reached
from homeserver.telemetry.metrics import DESTINATIONS_BEHIND, PDUS_WAITING, UNFORESEEN_ERRORS

logger = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
# A server that has not taken something for so long gets a row, so that the cursor passes it.
SLOW_SECONDS = 5.0
RETRY_SECONDS = 1.0
# One that has everything is forgotten after so long.
IDLE_SECONDS = 60.0
# A receipt goes at once into a room with so few other servers; else so many servers are told per second.
FEW_SERVERS = 5
RECEIPTS_PER_SECOND = 50
MOST_DELAY = 60.0
FIRST_PAUSE = 5.0


class Tables(Protocol):
    """`homeserver.services.rooms.remote.outgoing.Outgoing` is one."""

    async def list_events(self, after: int, upto: int, limit: int) -> list[OutgoingEvent]: ...
    async def list_missed(self, server: str, after: int, upto: int) -> Missed: ...
    async def list_receipts(self, server: str | None, after: int, upto: int) -> list[OutgoingReceipt]: ...


class Progress(Protocol):
    """`homeserver.services.rooms.remote.progress.Progress` is one."""

    async def load(self) -> Kept: ...
    async def save(self, cursors: Reached, behind: Mapping[str, Reached], done: Sequence[str]) -> None: ...


class Edus(Protocol):
    """`homeserver.services.messaging.outgoing.OutgoingEdus` is one."""

    async def run(self, after: int | None, sink: "Outbox") -> None: ...
    def stop(self) -> None: ...


class Outages(Protocol):
    def listen(self, on_up: Callable[[str], None]) -> None: ...


class Outbox:
    """Lives on the loop. Its follower runs beside it, is made with it, and is stopped before it."""

    def __init__(
        self,
        tables: Tables,
        progress: Progress,
        edus: Edus,
        courier: Courier,
        outages: Outages,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._tables = tables
        self._progress = progress
        self._edus = edus
        self._courier = courier
        self._first_pause = first_pause
        self._destinations: dict[str, Destination] = {}
        self._schedule = Schedule(self._work, self._lies_behind)
        # Since when a destination has got as much as it has; None: everything.
        self._since: dict[str, tuple[Reached | None, float]] = {}
        # Which rows there are, and what the cursors are.
        self._rows: dict[str, Reached] = {}
        self._saved: Reached | None = None
        self._start: Kept | None = None
        self._begun, self._placed = asyncio.Event(), asyncio.Event()
        self._stop, self._news = asyncio.Event(), asyncio.Event()
        self.handed = Reached(0, 0)
        outages.listen(self._may_be_up)
        # Asked when somebody looks: what they say is never old.
        DESTINATIONS_BEHIND.set_function(lambda: self.behind)
        PDUS_WAITING.set_function(lambda: self.waiting)

    # --- what the follower asks -----------------------------------------------------------------------------------

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, OutgoingEvent]]:
        return [(event.pdu.position, event) for event in await self._tables.list_events(after, upto, limit)]

    async def find_cursor(self, name: str) -> int | None:
        await self._begun.wait()
        return None if self._start is None else self._start.events

    async def save_cursor(self, name: str, position: int) -> None:
        """Everything up to here was handed out. It is written down once it was taken, too; where the follower begins,
        at once."""
        self.handed = Reached(max(position, self.handed.events), self.handed.receipts)
        if not self._placed.is_set():
            await self._progress.save(self.handed, {}, [])
            self._placed.set()
        self._news.set()

    async def act(self, events: Sequence[OutgoingEvent]) -> None:
        """Hands events to their destinations."""
        for event in events:
            for server in event.servers:
                if self._of(server).add(event.pdu):
                    self._schedule.wake(server)
            self.handed = Reached(event.pdu.position, self.handed.receipts)
        self._news.set()

    # --- ephemeral units ------------------------------------------------------------------------------------------

    def add_receipt(self, servers: Sequence[str], receipt: OutgoingReceipt) -> None:
        count = len(servers)
        delay = 0.0 if count <= FEW_SERVERS else min(MOST_DELAY, max(SLOW_SECONDS, count / RECEIPTS_PER_SECOND))
        for server in servers:
            if self._of(server).add_receipt(receipt, delay):
                self._schedule.wake(server)
        self._news.set()

    def heard(self, position: int) -> None:
        self.handed = Reached(self.handed.events, max(position, self.handed.receipts))
        self._news.set()

    def set_typing(self, servers: Sequence[str], room_id: str, user_id: str, typing: bool) -> None:
        for server in servers:
            if self._of(server).set_typing(room_id, user_id, typing):
                self._schedule.wake(server)

    def send_presence(self, updates: Sequence[Mapping[str, Any]], servers: Iterable[str]) -> None:
        """`updates` are entries of `push` of m.presence, of our users. The latest of a user goes out; a server that is
        away is not told. Our own name among `servers` does no harm: nobody is called by it."""
        for server in servers:
            destination = self._of(server)
            taken = [destination.add_presence(str(update["user_id"]), update) for update in updates]
            if any(taken):
                self._schedule.wake(server)

    # --- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`; then what is not taken yet is written down."""
        kept = await self._begin()
        if kept is None:
            return
        edus = asyncio.create_task(self._run_edus(kept.receipts))
        try:
            while not self._stop.is_set():
                await self._wait(self._news, IDLE_SECONDS)
                self._news.clear()
                await self._wait(self._stop, SAVE_SECONDS)
                await self._save()
        finally:
            self._edus.stop()
            await asyncio.gather(edus, self._schedule.stop(), return_exceptions=True)
        await self._save(final=True)

    def stop(self) -> None:
        for event in (self._stop, self._news, self._begun, self._placed):
            event.set()

    async def _begin(self) -> Kept | None:
        """Goes on where the process before stopped. None: there is nothing to go on with any more."""
        kept: Kept | None = None
        while kept is None and not self._stop.is_set():
            try:
                kept = await self._progress.load()
            except Unavailable as error:
                logger.warning("nothing is sent to other servers yet: %s", error)
                await self._wait(self._stop, RETRY_SECONDS)
        if kept is None:
            return None
        self.handed = Reached(kept.events or 0, kept.receipts or 0)
        self._rows = dict(kept.behind)
        for server, reached in kept.behind.items():
            self._destinations[server] = self._new(server, reached)
        self._start = kept
        self._begun.set()
        if kept.events is not None:
            self._placed.set()
        await self._placed.wait()  # until the follower knows where it begins
        for server in kept.behind:
            self._schedule.wake(server)
        return None if self._stop.is_set() else kept

    async def _run_edus(self, after: int | None) -> None:
        while not self._stop.is_set():
            try:
                await self._edus.run(after, self)
                return
            except Unavailable as error:
                logger.warning("what our users type and read is not told yet: %s", error)
            except Exception:
                # The edge of all ephemeral units: events go on without them, and they begin anew.
                logger.exception("telling what our users type and read failed")
                UNFORESEEN_ERRORS.labels("federation").inc()
            await self._wait(self._stop, RETRY_SECONDS)

    @property
    def has_begun(self) -> bool:
        """What happens from now on is told."""
        return self._placed.is_set()

    @property
    def waiting(self) -> int:
        """Events in memory, counted once per server."""
        return sum(destination.waiting for destination in self._destinations.values())

    @property
    def behind(self) -> int:
        """Servers for which something is not in memory."""
        return sum(destination.is_behind for destination in self._destinations.values())

    def _of(self, server: str) -> Destination:
        destination = self._destinations.get(server)
        if destination is None:
            destination = self._destinations[server] = self._new(server, None)
        return destination

    def _new(self, server: str, reached: Reached | None) -> Destination:
        return Destination(server, self._courier, self._tables, self, reached, self._first_pause)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _work(self, server: str) -> float | None:
        destination = self._destinations.get(server)
        seconds = None if destination is None else await destination.work()
        self._news.set()
        return seconds

    def _lies_behind(self, server: str) -> bool:
        destination = self._destinations.get(server)
        return destination is not None and destination.is_behind

    def _may_be_up(self, server: str) -> None:
        destination = self._destinations.get(server)
        if destination is not None and not destination.is_idle:
            destination.hurry()
            self._schedule.wake(server)

    # --- writing down ---------------------------------------------------------------------------------------------

    async def _save(self, *, final: bool = False) -> None:
        """Writes down how far everybody is. The cursor never passes what somebody has not got and has no row for."""
        now = self.now()
        rows: dict[str, Reached] = {}
        events, receipts = self.handed.events, self.handed.receipts
        for server, destination in list(self._destinations.items()):
            reached = destination.reached()
            before, since = self._since.get(server, (reached, now))
            if reached != before:
                since = now
            self._since[server] = (reached, since)
            if reached is None:
                if destination.is_idle and now - since >= IDLE_SECONDS and self._schedule.is_quiet(server):
                    del self._destinations[server], self._since[server]
                continue
            slow = SLOW_SECONDS if reached.events < self.handed.events else SLOW_SECONDS + MOST_DELAY
            if final or server in self._rows or destination.is_behind or now - since >= slow:
                rows[server] = reached
            else:
                events, receipts = min(events, reached.events), min(receipts, reached.receipts)
                self._news.set()
        cursors = Reached(events, receipts)
        changed = {server: reached for server, reached in rows.items() if self._rows.get(server) != reached}
        done = [server for server in self._rows if server not in rows]
        if cursors == self._saved and not changed and not done:
            return
        try:
            await self._progress.save(cursors, changed, done)
        except Unavailable as error:
            logger.warning("how far other servers are is not written down: %s", error)
            self._news.set()
            return
        self._saved, self._rows = cursors, rows

    @staticmethod
    async def _wait(event: asyncio.Event, seconds: float) -> None:
        """For an event, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
