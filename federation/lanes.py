"""How many calls to one server are under way at once: a slow server must not take everybody's connections.

Further calls wait in order, a bounded number of them. A server that nobody calls costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from homeserver.domain.errors import RemoteUnreachable

AT_ONCE = 10
MAX_WAITING = 200


class TooManyWaiting(RemoteUnreachable):
    """It is our own queue that is full: that tells nothing about the server."""


class _Lane:
    __slots__ = ("places", "wanted")

    def __init__(self, at_once: int) -> None:
        self.places = asyncio.Semaphore(at_once)
        self.wanted = 0


class Lanes:
    """By server name."""

    def __init__(self, at_once: int = AT_ONCE, max_waiting: int = MAX_WAITING) -> None:
        self._at_once = at_once
        self._most = at_once + max_waiting
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    @asynccontextmanager
    async def place(self, server_name: str) -> AsyncIterator[None]:
        """A place for one call. Raises TooManyWaiting if too many wait already."""
        lane = self._lanes.setdefault(server_name, _Lane(self._at_once))
        if lane.wanted >= self._most:
            raise TooManyWaiting(f"too many calls to {server_name} wait already")
        lane.wanted += 1
        try:
            async with lane.places:
                yield
        finally:
            lane.wanted -= 1
            if not lane.wanted:
                del self._lanes[server_name]
