"""What runs as long as the process does, and says itself when there is something to do: followers, and their like."""

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

# What is at work when the process stops may finish its batch, for so long.
STOP_SECONDS = 10.0


class Endless(Protocol):
    """`run` returns soon after `stop`; it may also be cancelled at any moment."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


class Running:
    """Runs `work` from `start` to `stop`; `patience` is how long it may take to end by itself."""

    def __init__(self, name: str, work: Endless, patience: float = STOP_SECONDS) -> None:
        self._name = name
        self._work = work
        self._patience = patience
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work.run(), name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Returns when nothing of it runs any more."""
        self._work.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=self._patience)
            if self._task.cancel():
                await asyncio.wait([self._task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("%s ended", self._name, exc_info=error)
