"""The client for everything that Parley asks of others, against real sockets with TLS."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from homeserver.domain.errors import RemoteUnreachable
from homeserver.http.outbound.client import (
    AnswerTooLarge,
    NotConnected,
    OutboundAnswer,
    OutboundClient,
    OutboundLimits,
    OutboundRequest,
    TimedOut,
)
from homeserver.http.outbound.guard import AddressGuard
from homeserver.http.outbound.resolver import SystemResolver
from homeserver.http.outbound.trust import trust
from homeserver.telemetry.metrics import OUTBOUND_ADDRESSES_REFUSED, OUTBOUND_REQUESTS
from tests.builders.certificate import CertificateAuthority
from tests.builders.peer import Asked, Hosts, Peer, Reply, running_peer

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# An attempt that leads nowhere is given up soon.
LIMITS = OutboundLimits(connect_seconds=2.0, idle_seconds=5.0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def peer(authority: CertificateAuthority) -> AsyncIterator[Peer]:
    async with running_peer(authority, "one.test", "two.test", "127.0.0.1") as peer:
        yield peer


@pytest.fixture
def hosts(peer: Peer) -> Hosts:
    hosts = Hosts()
    hosts.places = {"one.test": [peer.place], "two.test": [peer.place], "other.test": [peer.place]}
    return hosts


@pytest.fixture
async def client(authority: CertificateAuthority, hosts: Hosts) -> AsyncIterator[OutboundClient]:
    client = OutboundClient(AddressGuard(LOOPBACK), hosts, trust(authority.ca_file), LIMITS)
    yield client
    await client.close()


async def get(client: OutboundClient, url: str, **wanted: Any) -> OutboundAnswer:
    options: dict[str, Any] = {"caller": "test", "method": "GET", "seconds": 20.0, "max_bytes": 1 << 20} | wanted
    return await client.fetch(OutboundRequest(url=url, **options))


async def test_a_request_and_its_answer(client: OutboundClient, peer: Peer) -> None:
    """What goes out is what was asked for; status, headers and body come back as they are."""
    peer.answer = lambda asked: Reply(418, b"tea", {"X-Kind": "Green"})
    url = "https://one.test/a%40b/%7Ec?q=%3A+%20&r=%e4"
    answer = await get(client, url, method="PUT", headers={"X-One": "1"}, body=b"{}")
    assert (answer.status, answer.headers["x-kind"], answer.body) == (418, "Green", b"tea")
    (asked,) = peer.asked
    assert (asked.method, asked.target, asked.body) == ("PUT", "/a%40b/%7Ec?q=%3A+%20&r=%e4", b"{}")
    assert (asked.headers["host"], asked.headers["x-one"], asked.sni) == ("one.test", "1", "one.test")
    assert (asked.headers["accept-encoding"], asked.headers["user-agent"]) == ("identity", "Parley")


async def test_places_go_over_the_url(client: OutboundClient, peer: Peer) -> None:
    """The name of the URL is whom we believe to talk to, wherever that is."""
    await get(client, "https://one.test/", places=[("two.test", 8448)], headers={"Host": "one.test:77"})
    assert (peer.asked[0].sni, peer.asked[0].headers["host"]) == ("one.test", "one.test:77")


async def test_the_next_place_is_tried(client: OutboundClient, peer: Peer, hosts: Hosts, tmp_path: Path) -> None:
    """As long as no connection came about: nobody there, no such name, a certificate that does not count."""
    async with running_peer(CertificateAuthority.make(tmp_path), "one.test") as liar:
        hosts.places |= {"closed.test": [("127.0.0.1", 1)], "liar.test": [liar.place]}
        places = [("closed.test", 1), ("absent.test", 1), ("liar.test", 1), ("two.test", 1)]
        assert (await get(client, "https://one.test/", places=places)).status == 200
        assert (liar.connections, liar.asked, len(peer.asked)) == (1, [], 1)


async def test_a_certificate_for_somebody_else(client: OutboundClient, peer: Peer) -> None:
    """Nothing is sent to whom does not prove the name."""
    with pytest.raises(NotConnected, match="certificate"):
        await get(client, "https://other.test/")
    assert peer.connections == 1
    assert peer.asked == []


async def test_an_authority_that_does_not_count(hosts: Hosts, peer: Peer) -> None:
    """Without a file those of the system count, and the tests' is none of them."""
    client = OutboundClient(AddressGuard(LOOPBACK), hosts, trust(), LIMITS)
    with pytest.raises(NotConnected, match="certificate"):
        await get(client, "https://one.test/")
    await client.close()
    assert peer.asked == []


async def test_an_address_as_name(client: OutboundClient, peer: Peer, authority: CertificateAuthority) -> None:
    """The certificate must hold the address; TLS cannot name it."""
    assert (await get(client, f"https://127.0.0.1:{peer.port}/")).status == 200
    assert peer.asked[0].sni is None
    assert peer.asked[0].headers["host"] == f"127.0.0.1:{peer.port}"
    async with running_peer(authority, "one.test", "127.0.0.2") as other:
        with pytest.raises(NotConnected, match="certificate"):
            await get(client, f"https://127.0.0.1:{other.port}/")


async def test_an_address_of_version_6_as_name(client: OutboundClient, authority: CertificateAuthority) -> None:
    """In brackets in the URL and the header, without them everywhere else."""
    async with running_peer(authority, "::1", address="::1") as peer:
        assert (await get(client, f"https://[::1]:{peer.port}/")).status == 200
        assert peer.asked[0].headers["host"] == f"[::1]:{peer.port}"


async def test_a_connection_belongs_to_its_name(client: OutboundClient, peer: Peer) -> None:
    """It is used again for the same name, and never for another at the same address."""
    for name in ("one.test", "one.test", "two.test"):
        await get(client, f"https://{name}/", places=[peer.place])
    assert [asked.sni for asked in peer.asked] == ["one.test", "one.test", "two.test"]
    assert peer.connections == 2


async def test_a_connection_that_was_closed_meanwhile(client: OutboundClient, peer: Peer) -> None:
    """The other side may close an idle one at any time."""
    await get(client, "https://one.test/")
    await peer.end()
    assert (await get(client, "https://one.test/")).status == 200


async def test_redirects_are_answers(client: OutboundClient, peer: Peer) -> None:
    """Nobody is sent anywhere without wanting to be."""
    peer.answer = lambda asked: Reply(302, b"", {"Location": "https://two.test/", "Set-Cookie": "a=b"})
    answer = await get(client, "https://one.test/")
    assert (answer.status, answer.headers["location"]) == (302, "https://two.test/")
    await get(client, "https://one.test/")
    assert "cookie" not in peer.asked[1].headers


async def test_plain_http(hosts: Hosts, client: OutboundClient) -> None:
    """For what has no secrets."""
    async with running_peer(None) as plain:
        hosts.places["plain.test"] = [plain.place]
        assert (await get(client, "http://plain.test/")).status == 200


async def test_an_answer_that_is_too_large(client: OutboundClient, peer: Peer) -> None:
    """Refused by what it says of itself, or while it comes; one byte less is taken."""
    peer.answer = lambda asked: Reply(200, b"x" * 1001)
    with pytest.raises(AnswerTooLarge, match="has 1001 bytes"):
        await get(client, "https://one.test/", max_bytes=1000)
    assert len((await get(client, "https://one.test/", max_bytes=1001)).body) == 1001

    async def in_pieces(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n")
        for _ in range(10):
            writer.write(b"64\r\n" + b"x" * 100 + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    peer.write = in_pieces
    with pytest.raises(AnswerTooLarge, match="more than 1000"):
        await get(client, "https://one.test/", max_bytes=1000)
    assert len((await get(client, "https://one.test/", max_bytes=1100)).body) == 1100


async def test_a_compressed_answer_is_refused(client: OutboundClient, peer: Peer) -> None:
    """A few bytes could become any number."""
    peer.answer = lambda asked: Reply(200, gzip.compress(b"x" * 100_000), {"Content-Encoding": "gzip"})
    with pytest.raises(AnswerTooLarge, match="compressed"):
        await get(client, "https://one.test/")


async def test_heads_are_bounded(client: OutboundClient, peer: Peer) -> None:
    """In number of headers and in size."""
    many = {f"X-{number}": "x" for number in range(1000)}
    for headers in (many, {"X-Large": "x" * 100_000}):
        peer.answer = lambda asked, headers=headers: Reply(200, b"", headers)  # type: ignore[misc] # a default binds it
        with pytest.raises(RemoteUnreachable, match="not HTTP"):
            await get(client, "https://one.test/")


async def test_what_is_no_http(client: OutboundClient, peer: Peer) -> None:
    """Nonsense, half an answer, and nothing at all."""

    async def say(text: bytes) -> None:
        async def write(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            await writer.drain()

        peer.write = write
        with pytest.raises(RemoteUnreachable, match="broke off, or is not HTTP"):
            await get(client, "https://one.test/", method="POST")

    await say(b"SSH-2.0-OpenSSH\r\n\r\n")
    await say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await say(b"")


async def test_a_slow_answer(client: OutboundClient, peer: Peer) -> None:
    """It is given up when the caller's time is over, however alive it seems."""

    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    peer.write = drip
    with pytest.raises(TimedOut, match=r"within 0.3 seconds"):
        await get(client, "https://one.test/", seconds=0.3)


async def test_a_silent_server(authority: CertificateAuthority, hosts: Hosts, peer: Peer) -> None:
    """It is given up between two pieces, or before the first."""
    limits = OutboundLimits(idle_seconds=0.2)
    client = OutboundClient(AddressGuard(LOOPBACK), hosts, trust(authority.ca_file), limits)

    async def nothing(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    peer.write = nothing
    with pytest.raises(TimedOut, match="nothing more came"):
        await get(client, "https://one.test/")
    await client.close()


async def test_no_handshake(authority: CertificateAuthority, hosts: Hosts) -> None:
    """Who accepts a connection and says nothing is given up as one who does not accept it."""
    limits = OutboundLimits(connect_seconds=0.2)
    client = OutboundClient(AddressGuard(LOOPBACK), hosts, trust(authority.ca_file), limits)

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    hosts.places["mute.test"] = [server.sockets[0].getsockname()[:2]]
    with pytest.raises(NotConnected, match="no connection within"):
        await get(client, "https://mute.test/")
    await client.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "url", ["", "one.test", "ftp://one.test/", "https://", "https://one.test:99999/", "https://u:p@one.test/", "//x/"]
)
async def test_what_is_no_url(client: OutboundClient, url: str) -> None:
    """An error like any other."""
    with pytest.raises(NotConnected, match="is no URL"):
        await get(client, url)


async def test_what_came_of_it_is_counted(client: OutboundClient, peer: Peer) -> None:
    """By purpose and outcome."""

    def count(outcome: str) -> float:
        return float(OUTBOUND_REQUESTS.labels("counted", outcome)._value.get())

    await get(client, "https://one.test/", caller="counted")
    for url, options in (("https://other.test/", {}), ("https://one.test/", {"max_bytes": 1})):
        with pytest.raises(RemoteUnreachable):
            await get(client, url, caller="counted", **options)
    assert [count(outcome) for outcome in ("2xx", "not connected", "too large")] == [1, 1, 1]


async def test_connections_are_bounded(authority: CertificateAuthority, hosts: Hosts, peer: Peer) -> None:
    """Who finds none free waits, within the time that it has."""
    limits = OutboundLimits(max_connections=2)
    client = OutboundClient(AddressGuard(LOOPBACK), hosts, trust(authority.ca_file), limits)
    go_on = asyncio.Event()

    async def hold(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(Reply().encoded())
        await writer.drain()

    peer.write = hold
    tasks = [asyncio.ensure_future(get(client, "https://one.test/")) for _ in range(2)]
    with pytest.raises(TimedOut):
        await get(client, "https://one.test/", seconds=0.5)
    assert peer.connections == 2
    go_on.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [200, 200]
    await client.close()


INTERNAL = [
    "127.0.0.1",
    "127.0.0.53",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "[fd00::1]",
    "[fe80::1]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
]


@pytest.mark.parametrize("way", ["literal", "name", "place"])
@pytest.mark.parametrize("address", INTERNAL)
async def test_attack_30_no_caller_reaches_an_internal_address(
    authority: CertificateAuthority, address: str, way: str
) -> None:
    """In a URL, behind a name, or as the place of a delegation: no socket is opened, whoever asks. The trap stands on
    loopback, where most disguises of it would lead."""
    async with running_peer(None) as trap:
        hosts = Hosts()
        hosts.places["evil.test"] = [(address.strip("[]"), trap.port)]
        client = OutboundClient(AddressGuard(), hosts, trust(authority.ca_file), LIMITS)
        before = OUTBOUND_ADDRESSES_REFUSED._value.get()
        url = f"http://{address}:{trap.port}/" if way == "literal" else "http://evil.test/"
        places = [(address.strip("[]"), trap.port)] if way == "place" else []
        with pytest.raises(NotConnected, match="address that is not public"):
            await get(client, url, places=places, seconds=5.0)
        await client.close()
        assert trap.connections == 0
        assert OUTBOUND_ADDRESSES_REFUSED._value.get() == before + 1


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "localhost", "017700000001"])
async def test_attack_30_no_other_spelling_of_loopback(authority: CertificateAuthority, host: str) -> None:
    """What only the resolver of the system takes for an address."""
    async with running_peer(None) as trap:
        client = OutboundClient(AddressGuard(), SystemResolver(), trust(authority.ca_file), LIMITS)
        with pytest.raises(NotConnected):
            await get(client, f"http://{host}:{trap.port}/", seconds=5.0)
        await client.close()
        assert trap.connections == 0


async def test_attack_30_one_public_address_does_not_open_the_others(authority: CertificateAuthority) -> None:
    """A name may have many: each is judged by itself, and what is allowed is tried."""
    async with running_peer(None) as trap, running_peer(None, address="127.0.0.9") as allowed:
        hosts = Hosts()
        hosts.places["mixed.test"] = [trap.place, ("::ffff:127.0.0.1", trap.port), allowed.place]
        client = OutboundClient(AddressGuard([ip_network("127.0.0.9/32")]), hosts, trust(authority.ca_file), LIMITS)
        assert (await get(client, "http://mixed.test/")).status == 200
        await client.close()
        assert (trap.connections, allowed.connections) == (0, 1)


def test_old_versions_of_tls_are_refused(authority: CertificateAuthority) -> None:
    """1.2 is the oldest, and every certificate is checked."""
    context = trust(authority.ca_file)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_file_that_holds_no_authority(tmp_path: Path) -> None:
    """OSError, for whoever reads the settings."""
    (tmp_path / "empty.pem").touch()
    for name, reason in (("empty.pem", "no certificate"), ("missing.pem", "No such file")):
        with pytest.raises(OSError, match=reason):
            trust(tmp_path / name)
