"""A DNS server of the tests (twisted.names) on a free port of loopback, by UDP and TCP.

    async with dns_server() as dns:
        dns.services["_matrix-fed._tcp.one.test"] = [Service(10, 5, 8448, "host.one.test")]
        dns.addresses["host.one.test"] = ["127.0.0.1"]
        ... --network.dns_servers {dns.address} ...

It lives on the running loop, on a reactor of its own; `dns.reactor` is for a client in the same process. A name that it
was not told of does not exist.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from federation.names import Service

TTL = 600
MAX_DATAGRAM = 512
ESERVER = 2


class DnsServer:
    """`asked` holds every question: type and name, in order. `broken`: names for which it answers that it cannot."""

    def __init__(self) -> None:
        self.services: dict[str, Sequence[Service]] = {}
        self.addresses: dict[str, Sequence[str]] = {}
        self.broken: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.port = 0
        self.reactor: Any = None

    @property
    def address(self) -> str:
        """As the setting `network.dns_servers` takes it."""
        return f"127.0.0.1:{self.port}"

    def records(self, name: str, kind: str) -> list[Any] | None:
        """The payloads of an answer; None: there is no such name."""
        dns = importlib.import_module("twisted.names.dns")
        self.asked.append((kind, name))
        if name not in self.services and name not in self.addresses:
            return None
        if kind == "SRV":
            found = self.services.get(name, ())
            return [dns.Record_SRV(one.priority, one.weight, one.port, one.host.encode(), TTL) for one in found]
        listed = self.addresses.get(name, ())
        if kind == "A":
            return [dns.Record_A(address, TTL) for address in listed if ":" not in address]
        if kind == "AAAA":
            return [dns.Record_AAAA(address, TTL) for address in listed if ":" in address]
        return []


def _zone(server: DnsServer) -> Any:
    common, dns, error = (importlib.import_module(f"twisted.names.{name}") for name in ("common", "dns", "error"))
    defer = importlib.import_module("twisted.internet.defer")

    class Zone(common.ResolverBase):  # type: ignore[name-defined, misc] # the base is found at run time
        """Answers from what the server was told."""

        def _lookup(self, name: bytes, _: int, kind: int, __: object) -> Any:
            text = name.decode().lower()
            records = server.records(text, dns.QUERY_TYPES.get(kind, str(kind)))
            if records is None:
                return defer.fail(error.DomainError(text))
            return defer.succeed(([dns.RRHeader(name, kind, dns.IN, TTL, record) for record in records], [], []))

    return Zone()


def _factory(server: DnsServer) -> Any:
    names = importlib.import_module("twisted.names.server")

    class Factory(names.DNSServerFactory):  # type: ignore[name-defined, misc] # the base is found at run time
        """As that of twisted.names, but it truncates what a datagram cannot hold, and can be broken."""

        noisy = False

        def sendReply(self, protocol: Any, message: Any, address: Any) -> None:
            if address is not None and len(message.toStr()) > MAX_DATAGRAM:
                message.trunc, message.answers = 1, []
            if any(query.name.name.decode() in server.broken for query in message.queries):
                message.rCode, message.answers = ESERVER, []
            super().sendReply(protocol, message, address)

    return Factory(clients=[_zone(server)])


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """Answers until the end of the block."""
    dns = importlib.import_module("twisted.names.dns")
    server = DnsServer()
    loop = asyncio.get_running_loop()
    reactor = server.reactor = importlib.import_module("twisted.internet.asyncioreactor").AsyncioSelectorReactor(loop)
    factory = _factory(server)
    tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
    server.port = tcp.getHost().port
    protocol = dns.DNSDatagramProtocol(factory, reactor=reactor)
    protocol.noisy = False
    udp = reactor.listenUDP(server.port, protocol, interface="127.0.0.1")
    try:
        yield server
    finally:
        for port in (tcp, udp):
            stopped = port.stopListening()
            if stopped is not None:
                await stopped.asFuture(loop)
        for line in reactor.removeAll():
            line.connectionLost(importlib.import_module("twisted.python.failure").Failure(ConnectionAbortedError()))
        for call in reactor.getDelayedCalls():
            call.cancel()
