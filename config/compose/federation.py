"""Assembles what Parley needs to talk to other servers: the outbound client, discovery, and signed calls."""

import time
from dataclasses import dataclass

from signedjson.types import SigningKey

from config.dns import Dns
from config.settings import Settings
from federation.backoff import Backoff
from federation.calls import Calls
from federation.lookups import Lookups
from federation.partners import Partners
from homeserver.domain.errors import ParleyError
from homeserver.http.outbound.client import OutboundClient
from homeserver.http.outbound.guard import AddressGuard
from homeserver.http.outbound.resolver import Resolver, SystemResolver
from homeserver.http.outbound.trust import trust
from homeserver.ports import Clock, Randomness
from homeserver.services.destinations import Destinations
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Federation:
    """`client` trusts the authorities of the federation's settings. `close` ends what is under way."""

    partners: Partners
    destinations: Destinations
    backoff: Backoff
    lookups: Lookups
    client: OutboundClient
    calls: Calls

    async def close(self) -> None:
        await self.lookups.stop()
        await self.client.close()


def build_federation(
    settings: Settings,
    database: Database,
    key: SigningKey,
    clock: Clock,
    randomness: Randomness,
    reactor: object = None,
) -> Federation:
    """Nothing is connected yet. `reactor`: what DNS runs on, Twisted's own unless given. Raises ParleyError if the file
    with the authorities cannot be used."""
    wanted = settings.federation
    dns = Dns([(server.host, server.port) for server in settings.network.dns_servers], reactor)
    resolver: Resolver = dns if settings.network.dns_servers else SystemResolver()
    try:
        tls = trust(wanted.ca_file)
    except OSError as error:
        raise ParleyError(f"{wanted.ca_file} is no list of authorities in PEM: {error}") from error
    client = OutboundClient(AddressGuard(settings.network.allow_private), resolver, tls)

    def draw(most: int) -> int:
        return int.from_bytes(randomness.bytes(8)) % (most + 1)

    partners = Partners(wanted.enabled, wanted.allow_servers, wanted.deny_servers)
    destinations = Destinations(database, clock)
    backoff = Backoff(destinations, clock, lambda: draw(1000) / 1000)
    lookups = Lookups(client, dns, time.monotonic, draw)
    calls = Calls(settings.server_name, key, client, lookups, backoff, partners, clock)
    return Federation(partners, destinations, backoff, lookups, client, calls)
