"""The DNS client of the process, against a real DNS server."""

from collections.abc import AsyncIterator

import pytest

from config.dns import Dns
from federation.names import Service
from homeserver.domain.errors import RemoteUnreachable
from tests.builders.dns import TTL, DnsServer, dns_server


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


@pytest.fixture
def dns(server: DnsServer) -> Dns:
    return Dns([("127.0.0.1", server.port)], server.reactor)


async def test_service_records(server: DnsServer, dns: Dns) -> None:
    """What the records say, and for how long; a root as target is an empty host."""
    told = [Service(10, 5, 8448, "host.one.test"), Service(20, 0, 443, "")]
    server.services["_matrix-fed._tcp.one.test"] = told
    assert await dns.services("_matrix-fed._tcp.one.test") == (told, TTL)


async def test_no_service_records(server: DnsServer, dns: Dns) -> None:
    """A name that is not there, and one without such records, have none: that is an answer."""
    server.addresses["one.test"] = ["127.0.0.1"]
    assert [(await dns.services(name))[0] for name in ("one.test", "two.test")] == [(), ()]


async def test_an_answer_too_large_for_a_datagram(server: DnsServer, dns: Dns) -> None:
    """It comes by TCP."""
    told = [Service(1, number, 8448, f"host-{number}.a-rather-long-name.one.test") for number in range(60)]
    server.services["_matrix._tcp.one.test"] = told
    assert (await dns.services("_matrix._tcp.one.test"))[0] == told
    assert len(server.asked) == 2


async def test_a_server_that_cannot_answer(server: DnsServer, dns: Dns) -> None:
    """That is not the same as no records."""
    server.broken.add("_matrix._tcp.one.test")
    with pytest.raises(RemoteUnreachable, match="DNS does not answer"):
        await dns.services("_matrix._tcp.one.test")


async def test_no_server_there(server: DnsServer) -> None:
    """It is given up after the last round."""
    dns = Dns([("127.0.0.1", 9)], server.reactor, rounds=(0.01, 0.01))
    with pytest.raises(RemoteUnreachable, match="DNS does not answer"):
        await dns.services("_matrix._tcp.one.test")


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".".join(["abcdefghi"] * 26)])
async def test_names_that_dns_cannot_hold(server: DnsServer, dns: Dns, name: str) -> None:
    """They are not asked for."""
    with pytest.raises(RemoteUnreachable, match="DNS can hold"):
        await dns.services(name)
    with pytest.raises(OSError, match="DNS can hold"):
        await dns.resolve(name, 1)
    assert server.asked == []


async def test_addresses(server: DnsServer, dns: Dns) -> None:
    """Of both kinds; one kind is enough."""
    server.addresses["both.test"] = ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    server.addresses["four.test"] = ["192.0.2.4"]
    assert await dns.resolve("both.test", 1) == [("2001:db8::1", 1), ("192.0.2.1", 1), ("192.0.2.2", 1)]
    assert await dns.resolve("four.test", 2) == [("192.0.2.4", 2)]


async def test_no_addresses(server: DnsServer, dns: Dns) -> None:
    """As the system's resolver says it."""
    server.broken.add("broken.test")
    for name in ("nobody.test", "broken.test"):
        with pytest.raises(OSError, match=name):
            await dns.resolve(name, 1)
