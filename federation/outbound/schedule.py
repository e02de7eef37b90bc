"""Who is at work: one task for each destination that has something to do, a bounded number at once.

Destinations that lie behind have places of their own, so that many that do not answer hold up none that does. One that
is told to wait comes again by itself, or sooner if it is woken.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from homeserver.telemetry.metrics import UNFORESEEN_ERRORS

logger = logging.getLogger(__name__)

AT_ONCE = 100
BEHIND_AT_ONCE = 30
# After something that nobody expected.
FAILED_SECONDS = 60.0


class Schedule:
    """Lives on the loop. `work(name)` does what there is to do for a destination, and says in how many seconds to do it
    again: None, when it is woken. `is_behind(name)`: whether it lies behind."""

    def __init__(
        self,
        work: Callable[[str], Awaitable[float | None]],
        is_behind: Callable[[str], bool],
        at_once: int = AT_ONCE,
        behind_at_once: int = BEHIND_AT_ONCE,
    ) -> None:
        self._work = work
        self._is_behind = is_behind
        self._places = {False: at_once, True: behind_at_once}
        self._ready: dict[bool, OrderedDict[str, None]] = {False: OrderedDict(), True: OrderedDict()}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Woken while they were at work.
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stopping = False

    def wake(self, name: str) -> None:
        """There is something to do for it."""
        if self._stopping:
            return
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        if name in self._tasks:
            self._again.add(name)
        elif not any(name in ready for ready in self._ready.values()):
            self._ready[self._is_behind(name)][name] = None
            self._start()

    def is_quiet(self, name: str) -> bool:
        """Nothing is done for it, now or at a set time."""
        return not (name in self._tasks or name in self._timers or any(name in ready for ready in self._ready.values()))

    async def stop(self) -> None:
        """Ends what is under way."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        for behind, ready in self._ready.items():
            while ready and self._places[behind] and not self._stopping:
                name, _ = ready.popitem(last=False)
                self._places[behind] -= 1
                self._tasks[name] = asyncio.create_task(self._run(name, behind))

    async def _run(self, name: str, behind: bool) -> None:
        seconds: float | None = None
        try:
            seconds = await self._work(name)
        except Exception:
            # The edge of one destination: the others go on.
            logger.exception("sending to %s failed", name)
            UNFORESEEN_ERRORS.labels("federation").inc()
            seconds = FAILED_SECONDS
        finally:
            self._places[behind] += 1
            del self._tasks[name]
            again = name in self._again
            self._again.discard(name)
            if again and not seconds:
                self.wake(name)
            elif seconds is not None and not self._stopping:
                loop = asyncio.get_running_loop()
                self._timers[name] = loop.call_later(seconds, self._expired, name)
            self._start()

    def _expired(self, name: str) -> None:
        self._timers.pop(name, None)
        self.wake(name)
