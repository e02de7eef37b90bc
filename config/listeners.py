"""The listeners that the operator asked for, opened together and closed together.

Each has an address, a certificate or none, and the routes of the resources that it serves. Not here: which resources
there are (`config.compose`), and the process around them.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.http.limits import ServerLimits
from homeserver.http.routing import Route
from homeserver.http.server import HttpServer
from homeserver.ports import Clock


@dataclass(frozen=True, slots=True)
class Listener:
    """One address and port with what is served there; port 0 takes a free one."""

    address: str
    port: int
    routes: Sequence[Route]
    tls: ssl.SSLContext | None = None


class Listeners:
    """All of them. `stopping` is set when they begin to drain."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        clock: Clock,
        stopping: asyncio.Event,
        limits: ServerLimits | None = None,
    ) -> None:
        """Raises ValueError if two routes of one listener are the same."""
        self._open = [
            (listener, HttpServer(listener.routes, clock=clock, stopping=stopping, limits=limits))
            for listener in listeners
        ]

    async def open(self) -> None:
        """Listen everywhere, or raise OSError and listen nowhere."""
        try:
            for listener, server in self._open:
                await server.listen(listener.address, listener.port, listener.tls)
        except OSError:
            await self.drain(0)
            raise

    @property
    def urls(self) -> list[str]:
        """Where each listener is reached, with real port numbers."""
        return [
            f"{'https' if listener.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
            for listener, server in self._open
            for host, port in server.addresses
        ]

    async def drain(self, seconds: float) -> None:
        """Stop listening everywhere, then let requests in flight finish for at most `seconds`."""
        for _, server in self._open:
            server.stop_listening()
        await asyncio.gather(*(server.drain(seconds) for _, server in self._open))
