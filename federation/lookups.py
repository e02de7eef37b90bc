"""Where a server is reached: discovery (`names`), with the look-ups that it asks for.

The well-known file is fetched by HTTPS, service records come from DNS; both are remembered (`memory`). What a server
delegated to once counts on while its file cannot be fetched, for as long as the spec lets a file count at all.

A stranger decides which names we look up, and what the answers are: every answer is bounded, every redirect goes
through the address guard of the client, and what is remembered are the names that were used last.
https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from federation.memory import Gate, Memory
from federation.names import (
    Service,
    ServicesNeeded,
    WellKnownNeeded,
    Whereabouts,
    discover,
    in_order,
    is_host,
    split_name,
)
from federation.well_known import MOST_SECONDS, fetch_well_known
from homeserver.domain.errors import RemoteUnreachable
from homeserver.domain.identifiers import is_server_name
from homeserver.http.outbound.client import OutboundClient

# Bounds of how long service records count, whatever they say.
_LEAST_SECONDS, _MOST_SECONDS = 60.0, 3600.0


class ServiceRecords(Protocol):
    """Whoever can ask DNS for SRV records. Ends by itself after a bounded time."""

    async def services(self, name: str) -> tuple[Sequence[Service], float]:
        """The records of a name, none if there are none, and for how many seconds they count. Raises
        RemoteUnreachable if DNS gives no answer."""
        ...


class Lookups:
    """`elapsed`: seconds of a clock that never jumps. `draw(n)`: a random number from 0 to n, both included."""

    def __init__(
        self,
        client: OutboundClient,
        records: ServiceRecords,
        elapsed: Callable[[], float],
        draw: Callable[[int], int],
    ) -> None:
        self._client = client
        self._records = records
        self._draw = draw
        gate = Gate()
        self._well_knowns: Memory[str | None] = Memory(None, gate, elapsed, stale_seconds=MOST_SECONDS)
        self._services: Memory[Sequence[Service]] = Memory((), gate, elapsed)

    async def whereabouts(self, server_name: str) -> Whereabouts:
        """Where a server is reached; raises RemoteUnreachable if the name is none, or the server says: nowhere."""
        if not is_server_name(server_name):
            raise RemoteUnreachable(f"{server_name[:300]!r} is not a server name")
        step = discover(server_name)
        while not isinstance(step, Whereabouts):
            if not is_host(step.host):
                raise RemoteUnreachable(f"{step.host} is not a name that DNS can hold")
            if isinstance(step, WellKnownNeeded):
                step = step.answered(await self._well_knowns.get(step.host, partial(self._delegated, step.host)))
            else:
                found = await self._services.get(step.name, partial(self._asked, step))
                step = step.answered(in_order(found, self._draw))
        if not step.places:
            raise RemoteUnreachable(f"the service records of {step.host_header} say that it is not available")
        return step

    def suspect(self, server_name: str) -> None:
        """No connection came about: what was found for this name some time ago may have changed since."""
        delegated = self._well_knowns.known(server_name)
        self._well_knowns.suspect(server_name)
        host, _ = split_name(delegated or server_name)
        for service in ("_matrix-fed", "_matrix"):
            self._services.suspect(f"{service}._tcp.{host}")

    async def stop(self) -> None:
        """Ends the look-ups that are under way."""
        await self._well_knowns.stop()
        await self._services.stop()

    async def _delegated(self, host: str) -> tuple[str | None, float]:
        return await fetch_well_known(self._client, host)

    async def _asked(self, step: ServicesNeeded) -> tuple[Sequence[Service], float]:
        records, seconds = await self._records.services(step.name)
        return records, min(max(seconds, _LEAST_SECONDS), _MOST_SECONDS)
