"""One after the other, for each server: what is costly to answer must not be had in quantity.

Whoever asks for more meanwhile waits, a bounded number of times; servers do not wait for one another. A server that
asks for nothing costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from homeserver.domain.errors import LimitExceeded

MAX_WAITING = 50
RETRY_AFTER_MS = 5_000


class _Turn:
    __slots__ = ("lock", "wanted")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = 0


class Turns:
    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @asynccontextmanager
    async def of(self, server: str) -> AsyncIterator[None]:
        """Raises LimitExceeded if too much of the server's waits already."""
        turn = self._turns.setdefault(server, _Turn())
        if turn.wanted > MAX_WAITING:
            raise LimitExceeded("Your server asks for too many states at once", RETRY_AFTER_MS, "served_states")
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[server]
