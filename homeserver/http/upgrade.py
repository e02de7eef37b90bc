"""Leaving HTTP: an endpoint answers with an `Upgrade`, and its `Line` takes over the connection.

From then on aiohttp knows nothing of the connection. The slot that the acceptor gave it stays taken until the line is
closed, and the server waits for its lines when it stops. Not here: what is spoken on a line.

https://www.rfc-editor.org/rfc/rfc9110#name-upgrade
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Occupant(Protocol):
    """Who uses an accepted connection: HTTP at first, perhaps a line later."""

    @property
    def evictable(self) -> bool:
        """Nobody works for it: a newcomer may take its place while nobody has authenticated on it."""
        ...

    def force_close(self) -> None:
        """The server stops: end as soon as is polite."""
        ...


class Slot(Protocol):
    """The connection's place among all connections. `proxied`: a reverse proxy of ours stands between."""

    @property
    def remote(self) -> str: ...
    @property
    def proxied(self) -> bool: ...
    def opened(self, occupant: Occupant, transport: asyncio.Transport) -> None: ...
    def authenticated(self) -> None: ...
    def released(self) -> None: ...


class Line(asyncio.Protocol):
    """A connection that has left HTTP. Subclasses implement `opened` and what asyncio.Protocol has.

    Whoever overrides `connection_lost` calls it here too.
    """

    __slots__ = ("_ended", "_slot", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._slot: Slot | None = None
        self._ended: Callable[[Line], None] = _nothing

    def take(self, transport: asyncio.Transport, slot: Slot, ended: Callable[["Line"], None]) -> None:
        """The transport is ours now. `ended` wants to know when it is closed."""
        self.transport, self._slot, self._ended = transport, slot, ended
        transport.set_protocol(self)
        slot.opened(self, transport)
        self.opened()

    def opened(self) -> None:
        """Called once, before anything is received."""

    def authenticated(self) -> None:
        """Somebody has said who they are: newcomers do not push this line out any more."""
        if self._slot is not None:
            self._slot.authenticated()

    @property
    def evictable(self) -> bool:
        return False

    def force_close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        slot, self._slot, self.transport = self._slot, None, None
        if slot is not None:
            slot.released()
            self._ended(self)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The answer to a request that becomes something else. The line itself says so to the client."""

    line: Line


def _nothing(line: Line) -> None:
    """Nobody waits for a line that was never taken."""
