"""Making the index of search again from the events, newest first, while the server runs.

The follower tells what comes from now on; what was there before it ever ran is told here, and everything again if the
index is to be made anew: because another VERSION of Parley reads texts otherwise, or because somebody asks for it
(`start_over`). The index can be used all the time. What it has is left alone if it is right, and so long as an old row
stands there, it can be found as before.

How far it came stands in the database, so that it goes on after a restart: everything from the cursor upwards is done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from homeserver.streams.notifier import Watcher
from homeserver.telemetry.metrics import UNFORESEEN_ERRORS

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
logger = logging.getLogger(__name__)

# Of what stands in the index: a new number makes every server build it again.
VERSION = 1
FOLLOWER = "search"
CURSOR = f"search rebuild {VERSION}"

BATCH = 100
TOP = 2**62
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class History(Protocol[T_co]):
    """What there is, newest first, and the cursors. `homeserver.storage.stream.WholeStream` is one."""

    async def list_before(self, before: int, limit: int) -> Sequence[tuple[int, T_co]]:
        """(position, item) below a position, newest first: the first `limit`, and what shares the last one's place."""

    async def find_cursor(self, name: str) -> int | None: ...
    async def save_cursor(self, name: str, position: int) -> None: ...


class Rebuild(Generic[T]):
    """Not thread-safe: lives on the loop."""

    def __init__(
        self,
        history: History[T],
        act: Callable[[Sequence[T]], Awaitable[None]],
        *,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._history = history
        self._act = act
        self._first_pause = first_pause
        self._stopping = False
        self._news = Watcher()
        # A batch that ends must not overwrite what `start_over` wrote meanwhile.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Builds what is not built, then waits to be asked, until `stop`."""
        pause = self._first_pause
        while not self._stopping:
            self._news.stirred = False
            try:
                async with self._turn:
                    wait = await self._step()
                pause = self._first_pause
            except Exception:
                # The edge of one batch: it comes again.
                logger.exception("the index of search could not be built, and is tried again in %.1f s", pause)
                UNFORESEEN_ERRORS.labels("search").inc()
                wait, pause = pause, min(2 * pause, LONGEST_PAUSE)
            await self._news.wait(wait)

    def stop(self) -> None:
        """`run` returns after the batch that it is at."""
        self._stopping = True
        self._news.wake()

    async def start_over(self) -> None:
        """Builds the index again, from the newest event on. Returns when that has begun."""
        async with self._turn:
            await self._history.save_cursor(CURSOR, TOP)
        self._news.wake()

    async def is_complete(self) -> bool:
        """Whether everything that was there can be found."""
        return await self._history.find_cursor(CURSOR) == 0

    async def _step(self) -> float:
        """Does one batch. How long to wait after it."""
        if await self._history.find_cursor(FOLLOWER) is None:
            return self._first_pause  # what comes between this and the follower's first step would be lost
        cursor = await self._history.find_cursor(CURSOR)
        if cursor == 0:
            return LONGEST_PAUSE
        loop = asyncio.get_running_loop()
        began = loop.time()
        batch = await self._history.list_before(TOP if cursor is None else cursor, BATCH)
        if batch:
            await self._act([item for _, item in batch])
        await self._history.save_cursor(CURSOR, batch[-1][0] if batch else 0)
        if not batch:
            logger.warning("the index of search is complete")
        # Half of the time is for others.
        return loop.time() - began
