"""DNS by twisted.names: service records, and addresses where the operator names DNS servers of their own.

The system's resolver knows no service records, so those are always asked for here, of the servers that the settings
name or /etc/resolv.conf does. Look-ups run on Twisted's reactor, which is the loop of the process (`process`), and end
by themselves after some seconds. Twisted is imported with the first one: most of its memory is for DNS alone.
https://www.rfc-editor.org/rfc/rfc2782
"""

import asyncio
import importlib
import socket
from collections.abc import Sequence
from typing import Any

from federation.names import Service, is_host
from homeserver.domain.errors import RemoteUnreachable
from homeserver.http.outbound.resolver import MAX_ADDRESSES, Place

# How long to wait for each server, in seconds, in the first round and in the second.
ROUNDS = (2.0, 4.0)
# Of what is not there DNS tells how long it is so in a way that twisted.names does not pass on.
_ABSENT_SECONDS = 300.0
_RESOLV_CONF = "/etc/resolv.conf"


class Dns:
    """Implements `federation.lookups.ServiceRecords` and `homeserver.http.outbound.resolver.Resolver`.

    `servers`: IP addresses and ports; none: those of /etc/resolv.conf. `reactor`: Twisted's own unless given.
    """

    def __init__(self, servers: Sequence[Place] = (), reactor: object = None, rounds: Sequence[float] = ROUNDS) -> None:
        self._servers = list(servers)
        self._reactor = reactor
        self._rounds = tuple(rounds)
        # Twisted's types leave out most of DNS: what we ask of it is tested with a real server.
        self._resolver: Any = None

    async def services(self, name: str) -> tuple[Sequence[Service], float]:
        """The SRV records of a name, none if there are none, and for how many seconds they count. Raises
        RemoteUnreachable if DNS gives no answer."""
        try:
            found = await self._look_up("lookupService", name)
        except OSError as error:
            raise RemoteUnreachable(str(error)) from error
        kind = importlib.import_module("twisted.names.dns").SRV
        records = [record for record in found if record.type == kind]
        if not records:
            return (), _ABSENT_SECONDS
        return [_service(record.payload) for record in records], float(min(record.ttl for record in records))

    async def resolve(self, host: str, port: int) -> Sequence[Place]:
        """Where `host` can be reached on `port`. Raises OSError if nowhere."""
        both = await asyncio.gather(
            self._look_up("lookupIPV6Address", host), self._look_up("lookupAddress", host), return_exceptions=True
        )
        places: list[Place] = []
        for found in both:
            if isinstance(found, BaseException):
                if not isinstance(found, OSError):
                    raise found
                continue
            places += [(address, port) for record in found if (address := _address(record.payload))]
        if places:
            return places[:MAX_ADDRESSES]
        failures = [found for found in both if isinstance(found, OSError)]
        raise failures[0] if failures else OSError(f"{host} has no address")

    async def _look_up(self, kind: str, name: str) -> Sequence[Any]:
        """The records of the answer, of any type. Raises OSError if there is no answer."""
        if not is_host(name):
            raise OSError(f"{name[:300]!r} is not a name that DNS can hold")
        errors = importlib.import_module("twisted.names.error")
        not_connected = importlib.import_module("twisted.internet.error").ConnectError
        no_time = importlib.import_module("twisted.internet.defer").TimeoutError
        failures = (errors.DomainError, errors.ResolverError, no_time, not_connected, OSError)
        looked_up = getattr(self._opened(), kind)(name.encode(), self._rounds)
        try:
            # Shielded: twisted.names shares one question among all who ask it.
            answers, _, _ = await asyncio.shield(looked_up.asFuture(asyncio.get_running_loop()))
        except errors.DNSNameError:
            return ()
        except failures as error:
            raise OSError(f"DNS does not answer for {name} ({type(error).__name__})") from error
        records: Sequence[Any] = answers
        return records

    def _opened(self) -> Any:
        if self._resolver is None:
            client = importlib.import_module("twisted.names.client")
            known = {"servers": self._servers} if self._servers else {"resolv": _RESOLV_CONF}
            self._resolver = client.Resolver(timeout=self._rounds, reactor=self._reactor, **known)
        return self._resolver


def _service(record: Any) -> Service:
    """`.` as target, "the service is decidedly not available", becomes the empty host."""
    host = record.target.name.decode("ascii", "replace").rstrip(".").lower()
    return Service(record.priority, record.weight, record.port, host)


def _address(record: Any) -> str | None:
    """The address of an A or AAAA record; None for others, such as the alias before them."""
    if hasattr(record, "dottedQuad"):
        return str(record.dottedQuad())
    if hasattr(record, "address") and len(record.address) == 16:
        return socket.inet_ntop(socket.AF_INET6, record.address)
    return None
