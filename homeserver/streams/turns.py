"""Work for the loop that comes in bursts: a little in each turn, so that everything else gets its turns too.

A message in a large room wakes thousands of clients at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable

PER_TURN = 50


class Turns:
    """Lives on the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def __len__(self) -> int:
        return len(self._waiting)

    def soon(self, work: Callable[[], None]) -> None:
        """Calls `work` after everything that was given before."""
        self._waiting.append(work)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        try:
            for _ in range(min(PER_TURN, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            # Also if one of them failed, of which the loop tells.
            if self._waiting and not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_soon(self._turn)
