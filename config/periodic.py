"""Small work done again and again in the background of the process: flushing, pruning, supervising."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


class Periodic:
    """Calls `action` every `seconds` until it is stopped; what an action raises is logged, and the next one comes."""

    def __init__(self, name: str, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._seconds = seconds
        self._action = action
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Returns when nothing of it runs any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self._action()
            except Exception:  # the edge of one background job
                logger.exception("%s failed", self._name)
