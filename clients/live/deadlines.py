"""The times that one socket minds, on one timer.

Most deadlines are put off again and again (a heartbeat, by every message): that costs an entry in a dictionary. The
timer of the loop is moved only when something becomes due earlier.
"""

import asyncio
from collections.abc import Callable


class Deadlines:
    """`ring` is called with the name of what is due, once for each time it was set."""

    __slots__ = ("_due", "_loop", "_ring", "_timer", "_timer_at")

    def __init__(self, ring: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._due: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def now(self) -> float:
        """The time of the loop, in seconds."""
        return self._loop.time()

    def set(self, name: str, seconds: float) -> None:
        """It is due `seconds` from now, and not when it was before."""
        due = self._due[name] = self._loop.time() + seconds
        if self._timer is None or due < self._timer_at:
            self._arm(due)

    def clear(self, name: str) -> None:
        self._due.pop(name, None)

    def has(self, name: str) -> bool:
        return name in self._due

    def stop(self) -> None:
        """Nothing rings any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for name in [name for name, due in self._due.items() if due <= now]:
            # What rang before may have put it off, or stopped everything.
            if self._due.get(name, now + 1) <= now:
                del self._due[name]
                self._ring(name)
        if self._due and self._timer is None:
            self._arm(min(self._due.values()))
