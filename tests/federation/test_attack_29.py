"""Attack 29: what a stranger may do to us with its well-known file.

The stranger listens on 127.0.0.2, which stands for the internet: it is the only address that the guard allows. The trap
listens on 127.0.0.1, which stands for our own network: nobody may be led there.
"""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from federation.well_known import fetch_well_known
from homeserver.domain.errors import RemoteUnreachable
from homeserver.http.outbound.client import OutboundClient, OutboundLimits
from homeserver.http.outbound.guard import AddressGuard
from homeserver.http.outbound.trust import trust
from tests.builders.certificate import CertificateAuthority
from tests.builders.peer import Asked, Hosts, Peer, Reply, running_peer

GIGABYTES = 10 * 2**30
# The stranger gives up after so much: a test must not fill the memory when the defence is off.
ENOUGH = 16 * 2**20
INTERNET = ip_network("127.0.0.2/32")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def stranger(authority: CertificateAuthority) -> AsyncIterator[Peer]:
    async with running_peer(authority, "evil.test", "*.evil.test", address="127.0.0.2") as peer:
        yield peer


@pytest.fixture
async def trap() -> AsyncIterator[Peer]:
    async with running_peer(None) as peer:
        yield peer


@pytest.fixture
def hosts(stranger: Peer) -> Hosts:
    hosts = Hosts()
    hosts.places["evil.test"] = [stranger.place]
    return hosts


@pytest.fixture
async def client(authority: CertificateAuthority, hosts: Hosts) -> AsyncIterator[OutboundClient]:
    limits = OutboundLimits(connect_seconds=2.0)
    client = OutboundClient(AddressGuard([INTERNET]), hosts, trust(authority.ca_file), limits)
    yield client
    await client.close()


@pytest.mark.parametrize("head", [f"Content-Length: {GIGABYTES}", "Transfer-Encoding: chunked", "Connection: close"])
async def test_attack_29_a_body_of_ten_gigabytes(client: OutboundClient, stranger: Peer, head: str) -> None:
    """No more is read than the few kilobytes that a file may have."""
    sent = 0
    cut = asyncio.Event()

    async def pour(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        piece = b'{"m.server":"' + b"x" * 65_000
        if "chunked" in head:
            piece = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        try:
            while sent < ENOUGH:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        finally:
            cut.set()

    stranger.write = pour
    with pytest.raises(RemoteUnreachable, match=r"bytes"):
        await fetch_well_known(client, "evil.test")
    await asyncio.wait_for(cut.wait(), 10)
    assert sent < ENOUGH


async def test_attack_29_an_endless_redirect(client: OutboundClient, stranger: Peer) -> None:
    """Round in a circle, or always further: six requests, and no more."""
    stranger.answer = lambda asked: Reply(302, b"", {"Location": f"https://evil.test/{len(stranger.asked)}"})
    with pytest.raises(RemoteUnreachable, match="redirected too often"):
        await fetch_well_known(client, "evil.test")
    assert len(stranger.asked) == 6


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[2002:7f00:1::1]",
        "[64:ff9b::7f00:1]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "internal.evil.test",
    ],
)
async def test_attack_29_a_redirect_into_our_network(
    client: OutboundClient, stranger: Peer, trap: Peer, hosts: Hosts, address: str
) -> None:
    """Neither by address nor by name, in whatever disguise."""
    hosts.places["internal.evil.test"] = [trap.place]
    stranger.answer = lambda asked: Reply(307, b"", {"Location": f"https://{address}:{trap.port}/latest/meta-data"})
    with pytest.raises(RemoteUnreachable, match="address that is not public"):
        await fetch_well_known(client, "evil.test")
    assert (len(stranger.asked), trap.connections) == (1, 0)


async def test_attack_29_a_name_that_changes_its_address(
    client: OutboundClient, stranger: Peer, trap: Peer, hosts: Hosts
) -> None:
    """It was public when it was looked at, and is not when we connect (DNS rebinding): what counts is where the socket
    would go."""
    hosts.in_turn["evil.test"] = [[stranger.place], [trap.place]]
    stranger.answer = lambda asked: Reply(308, b"", {"Location": f"https://evil.test:{trap.port}/"})
    with pytest.raises(RemoteUnreachable, match="address that is not public"):
        await fetch_well_known(client, "evil.test")
    assert hosts.asked == ["evil.test:443", f"evil.test:{trap.port}"]
    assert (len(stranger.asked), trap.connections) == (1, 0)
