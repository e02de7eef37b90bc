"""Names to addresses, as this machine resolves them: hosts file, DNS, whatever its administrator has set up.

Each look-up runs in a thread, a bounded number at once: a name whose servers do not answer blocks its thread for many
seconds, and strangers choose the names. Not here: whether an address may be connected to (`guard`).
"""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

AT_ONCE = 16
MAX_WAITING = 1_000
# More addresses than any honest name has are not tried.
MAX_ADDRESSES = 16

# An IP address and a port.
Place = tuple[str, int]


class Resolver(Protocol):
    """Whoever can tell the addresses of a name."""

    async def resolve(self, host: str, port: int) -> Sequence[Place]:
        """Where `host` can be reached on `port`, best first; raises OSError if nowhere."""
        ...


class SystemResolver:
    """Implements `Resolver` with getaddrinfo."""

    def __init__(self, at_once: int = AT_ONCE, max_waiting: int = MAX_WAITING) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._max_waiting = max_waiting
        self._waiting = 0

    async def resolve(self, host: str, port: int) -> Sequence[Place]:
        if self._waiting >= self._max_waiting:
            raise OSError("too many look-ups of names wait already")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[Place]] = loop.create_future()
        # The process may end while it blocks, so the thread is none that is waited for.
        threading.Thread(target=self._look_up, args=(loop, found, host, port), daemon=True).start()
        return await found

    def _look_up(
        self, loop: asyncio.AbstractEventLoop, found: asyncio.Future[Sequence[Place]], host: str, port: int
    ) -> None:
        places, failure = [], None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            places = [(str(info[4][0]), port) for info in infos[:MAX_ADDRESSES]]
        except (OSError, ValueError) as error:  # ValueError: what can be no name, such as a label of 64 bytes
            failure = OSError(f"no address for {host[:300]!r}: {error}")
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._ended, found, places, failure)

    def _ended(self, found: asyncio.Future[Sequence[Place]], places: Sequence[Place], failure: OSError | None) -> None:
        # Only now: somebody who waits no longer leaves the thread behind.
        self._places.release()
        if found.done():
            return
        if failure is None:
            found.set_result(places)
        else:
            found.set_exception(failure)
