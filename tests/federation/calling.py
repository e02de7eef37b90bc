"""A caller of the tests: discovery and calls over real sockets; names, DNS, time and memory are in the test's hands."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

from federation.backoff import Backoff
from federation.calls import Calls
from federation.lookups import Lookups, ServiceRecords
from federation.names import Service
from federation.partners import Partners
from homeserver.domain.errors import RemoteUnreachable
from homeserver.domain.outage import Outage
from homeserver.domain.signing import generate_key
from homeserver.http.outbound.client import OutboundClient, OutboundLimits
from homeserver.http.outbound.guard import AddressGuard, Network
from homeserver.http.outbound.resolver import Resolver
from homeserver.http.outbound.trust import trust
from tests.builders.certificate import CertificateAuthority
from tests.builders.machine import HandClock
from tests.builders.peer import Hosts

NAME = "home.test"
KEY = generate_key(b"k" * 32, "a_1")
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
LIMITS = OutboundLimits(connect_seconds=2.0, idle_seconds=5.0)


class ListedServices:
    """Implements `ServiceRecords`: what the test lists; `broken` names get no answer."""

    def __init__(self) -> None:
        self.records: dict[str, Sequence[Service]] = {}
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.seconds = 600.0

    async def services(self, name: str) -> tuple[Sequence[Service], float]:
        self.asked.append(name)
        if name in self.broken:
            raise RemoteUnreachable("DNS does not answer")
        return self.records.get(name, ()), self.seconds


class KeptInMemory:
    """Implements `KeptOutages`."""

    def __init__(self) -> None:
        self.rows: dict[str, Outage] = {}
        self.reads = 0

    async def find(self, server_name: str) -> Outage | None:
        self.reads += 1
        await asyncio.sleep(0)
        return self.rows.get(server_name)

    async def keep(self, server_name: str, outage: Outage | None) -> None:
        await asyncio.sleep(0)
        if outage is None:
            self.rows.pop(server_name, None)
        else:
            self.rows[server_name] = outage


class Caller:
    """`elapsed` is the clock of the look-ups' memory, in seconds; `clock` that of outages."""

    def __init__(
        self,
        authority: CertificateAuthority,
        *,
        allowed: Sequence[Network] = LOOPBACK,
        records: ServiceRecords | None = None,
        resolver: Resolver | None = None,
        partners: Partners | None = None,
    ) -> None:
        self.hosts, self.services, self.kept = Hosts(), ListedServices(), KeptInMemory()
        self.clock, self.elapsed = HandClock(), 0.0
        self.client = OutboundClient(AddressGuard(allowed), resolver or self.hosts, trust(authority.ca_file), LIMITS)
        self.lookups = Lookups(self.client, records or self.services, lambda: self.elapsed, lambda most: 0)
        self.backoff = Backoff(self.kept, self.clock, lambda: 0.0)
        self.calls = Calls(NAME, KEY, self.client, self.lookups, self.backoff, partners or Partners(), self.clock)


@asynccontextmanager
async def calling(caller: Caller) -> AsyncIterator[Caller]:
    """Ends what the caller holds open."""
    try:
        yield caller
    finally:
        await caller.lookups.stop()
        await caller.client.close()
