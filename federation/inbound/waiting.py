"""The rooms with events that wait for what they follow: one task for each, so that a slow room holds up no other.

What waits stands in a table: after a restart it goes on where it was.
"""

import asyncio
import logging
from collections import OrderedDict

from federation.inbound.gaps import Gaps
from homeserver.domain.errors import NotFound, RemoteError, Unavailable
from homeserver.domain.verdict import Rejected
from homeserver.services.rooms.remote.receiving import RemoteEvents
from homeserver.services.rooms.remote.staging import Staging, Waiting
from homeserver.telemetry.metrics import STAGED_ROOMS, UNFORESEEN_ERRORS

logger = logging.getLogger(__name__)

# Rooms that are worked on at once; the others wait for their turn.
AT_ONCE = 20
# After so many times in vain an event is dropped. It comes again if a later one follows it.
MAX_TRIES = 4
FIRST_PAUSE = 2.0


class WaitingRooms:
    """Lives on the loop. `first_pause` in seconds, doubled after each try in vain."""

    def __init__(self, events: RemoteEvents, staging: Staging, gaps: Gaps, first_pause: float = FIRST_PAUSE) -> None:
        self._events = events
        self._staging = staging
        self._gaps = gaps
        self._first_pause = first_pause
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._next: OrderedDict[str, None] = OrderedDict()
        self._again: set[str] = set()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def resume(self) -> None:
        """Goes on with what waited when the server stopped."""
        for room_id in await self._staging.rooms():
            self.wake(room_id)

    def wake(self, room_id: str) -> None:
        """Something waits for this room."""
        if self._stopping:
            return
        self._idle.clear()
        if room_id in self._tasks:
            self._again.add(room_id)
        else:
            self._next[room_id] = None
            self._start()

    async def settled(self) -> None:
        """Returns once nothing waits any more."""
        await self._idle.wait()

    async def stop(self) -> None:
        self._stopping = True
        self._next.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        while self._next and len(self._tasks) < AT_ONCE and not self._stopping:
            room_id, _ = self._next.popitem(last=False)
            self._tasks[room_id] = asyncio.create_task(self._work(room_id))
        STAGED_ROOMS.set(len(self._tasks) + len(self._next))

    async def _work(self, room_id: str) -> None:
        try:
            while not self._stopping:
                self._again.discard(room_id)
                while waiting := await self._first(room_id):
                    await self._take(room_id, waiting)
                if room_id not in self._again:
                    return
        finally:
            del self._tasks[room_id]
            self._start()
            if not self._tasks and not self._next:
                self._idle.set()

    async def _first(self, room_id: str) -> Waiting | None:
        try:
            found = await self._staging.first(room_id, 1)
        except (NotFound, Unavailable) as error:
            logger.warning("what waits for the room %s stays where it is: %s", room_id, error)
            return None
        return found[0] if found else None

    async def _take(self, room_id: str, waiting: Waiting) -> None:
        """Lets one event in, or drops it at last."""
        event = waiting.event
        version = await self._events.version(room_id)
        if version is None:
            await self._staging.remove([event.event_id])
            return
        try:
            outcome = await self._gaps.let_in(room_id, version, event, waiting.origin)
            if isinstance(outcome, Rejected):
                logger.info("%s of %s is rejected: %s", event.event_id, waiting.origin, outcome.why)
        except (RemoteError, Unavailable) as error:
            if waiting.tries + 1 < MAX_TRIES:
                await self._staging.note_try(event.event_id)
                await asyncio.sleep(self._first_pause * 2**waiting.tries)
                return
            logger.warning("%s of %s is dropped: %s", event.event_id, waiting.origin, error)
        except Exception:
            # The edge of one event: those behind it go on.
            logger.exception("%s of %s is dropped", event.event_id, waiting.origin)
            UNFORESEEN_ERRORS.labels("federation").inc()
        await self._staging.remove([event.event_id])
