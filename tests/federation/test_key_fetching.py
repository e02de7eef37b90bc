"""Keys of servers that are asked over TLS, and answers that are made to do harm."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from federation.key_lookups import KeyLookups
from federation.keyring import Keyring
from tests.builders.certificate import CertificateAuthority
from tests.builders.identity import TS, Peer, PeerRoom
from tests.builders.machine import HandClock
from tests.builders.peer import Asked, Reply, running_peer
from tests.federation.calling import NAME, Caller, calling
from tests.federation.conftest import Bench
from tests.federation.network import KEYS

PEER = Peer("one.test")
SIGNED = PEER.sign_json({"a": 1})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def caller(authority: CertificateAuthority) -> AsyncIterator[Caller]:
    async with calling(Caller(authority)) as caller:
        yield caller


class Asking:
    """A keyring that asks over real sockets."""

    def __init__(self, bench: Bench, caller: Caller) -> None:
        self.clock = HandClock(TS)
        self.shelf = bench.shelf
        self.lookups = KeyLookups(caller.calls, bench.shelf, self.clock)
        self.keyring = Keyring(NAME, (), bench.shelf, self.lookups, bench.threads, self.clock)

    async def is_good(self) -> bool:
        return await self.keyring.verify_json(PEER.name, SIGNED, TS) is None


async def test_keys_come_over_tls(bench: Bench, caller: Caller, authority: CertificateAuthority) -> None:
    """Without a signature of ours: the other server could not check one before it had asked us."""
    asking = Asking(bench, caller)
    async with running_peer(authority, PEER.name) as peer:
        caller.hosts.places[f"{PEER.name}:8448"] = [peer.place]
        peer.answer = lambda asked: Reply(200, PEER.keys()) if asked.target == KEYS else Reply(404)
        assert await asking.is_good()
        assert [asked.headers.get("authorization") for asked in peer.asked if asked.target == KEYS] == [None]


async def test_attack_28_a_huge_answer(bench: Bench, caller: Caller, authority: CertificateAuthority) -> None:
    """However well it is signed, no server fills our table."""
    asking = Asking(bench, caller)
    huge = PEER.sign_json({**PEER.keys(), "padding": "x" * 70_000, "signatures": {}})
    async with running_peer(authority, PEER.name) as peer:
        caller.hosts.places[f"{PEER.name}:8448"] = [peer.place]
        peer.answer = lambda asked: Reply(200, huge) if asked.target == KEYS else Reply(404)
        assert not await asking.is_good()
        assert asking.shelf.known == {}


async def test_a_server_that_dribbles(bench: Bench, caller: Caller, authority: CertificateAuthority) -> None:
    """Whoever waits for its keys does so no longer than it wants to."""
    asking = Asking(bench, caller)
    event = PeerRoom(PEER, "11").events[0]

    async def dribble(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        await asyncio.Event().wait()

    async with running_peer(authority, PEER.name) as peer:
        caller.hosts.places[f"{PEER.name}:8448"] = [peer.place]
        peer.write = dribble
        (why,) = await asking.keyring.verify_events(event.version, [event.pdu], patience=0.1)
        assert why is not None
        await asking.lookups.close()
