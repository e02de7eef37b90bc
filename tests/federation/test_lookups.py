"""Discovery with its look-ups: in which order, how often, and what failures lead to."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from federation.names import Service, Whereabouts
from homeserver.domain.errors import RemoteUnreachable
from tests.builders.certificate import CertificateAuthority
from tests.builders.peer import Peer, Reply, running_peer
from tests.federation.calling import Caller, calling


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def peer(authority: CertificateAuthority) -> AsyncIterator[Peer]:
    async with running_peer(authority, "one.test", "two.test") as peer:
        peer.answer = lambda asked: Reply(404)
        yield peer


@pytest.fixture
async def caller(authority: CertificateAuthority, peer: Peer) -> AsyncIterator[Caller]:
    async with calling(Caller(authority)) as caller:
        caller.hosts.places = {"one.test": [peer.place], "two.test": [peer.place]}
        yield caller


def delegate(peer: Peer, name: str, age: int = 7200) -> None:
    peer.answer = lambda asked: Reply(200, {"m.server": name}, {"Cache-Control": f"max-age={age}"})


async def test_all_look_ups_in_order(caller: Caller, peer: Peer) -> None:
    """The file, both service names, and then the name itself; each is remembered."""
    for _ in range(3):
        found = await caller.lookups.whereabouts("one.test")
        assert found == Whereabouts((("one.test", 8448),), "one.test", "one.test")
    assert len(peer.asked) == 1
    assert caller.services.asked == ["_matrix-fed._tcp.one.test", "_matrix._tcp.one.test"]


async def test_no_look_ups_where_none_are_needed(caller: Caller, peer: Peer) -> None:
    """An address, or a port."""
    for name in ("127.0.0.1", "[::1]:8448", "one.test:8448"):
        assert (await caller.lookups.whereabouts(name)).host_header == name
    assert (caller.services.asked, peer.asked) == ([], [])


async def test_a_delegation_counts_as_long_as_it_says(caller: Caller, peer: Peer) -> None:
    """And on, while the file cannot be fetched; a new one goes over it."""
    delegate(peer, "two.test:1")
    assert (await caller.lookups.whereabouts("one.test")).host_header == "two.test:1"
    delegate(peer, "two.test:2")
    assert (await caller.lookups.whereabouts("one.test")).host_header == "two.test:1"
    peer.answer = lambda asked: Reply(500)
    caller.elapsed = 7200.0
    assert (await caller.lookups.whereabouts("one.test")).host_header == "two.test:1"
    delegate(peer, "two.test:2")
    caller.elapsed += 60.0
    assert (await caller.lookups.whereabouts("one.test")).host_header == "two.test:2"
    peer.answer = lambda asked: Reply(500)
    caller.elapsed += 48 * 3600.0
    assert (await caller.lookups.whereabouts("one.test")).host_header == "one.test"


async def test_a_suspected_delegation_is_fetched_again(caller: Caller, peer: Peer) -> None:
    """The server may have moved; what is quite new is not doubted."""
    delegate(peer, "two.test")
    caller.services.records["_matrix-fed._tcp.two.test"] = [Service(1, 1, 1, "a.test")]
    assert (await caller.lookups.whereabouts("one.test")).places == (("a.test", 1),)
    caller.lookups.suspect("one.test")
    await caller.lookups.whereabouts("one.test")
    assert len(peer.asked) == 1
    caller.elapsed = 400.0
    caller.services.records["_matrix-fed._tcp.two.test"] = [Service(1, 1, 2, "b.test")]
    caller.lookups.suspect("one.test")
    assert (await caller.lookups.whereabouts("one.test")).places == (("b.test", 2),)
    assert len(peer.asked) == 2


async def test_dns_that_does_not_answer(caller: Caller) -> None:
    """As if there were no records, for a short time."""
    caller.services.broken = {"_matrix-fed._tcp.one.test"}
    assert (await caller.lookups.whereabouts("one.test")).places == (("one.test", 8448),)
    caller.services.broken = set()
    caller.services.records["_matrix-fed._tcp.one.test"] = [Service(1, 1, 1, "a.test")]
    caller.elapsed = 60.0
    assert (await caller.lookups.whereabouts("one.test")).places == (("a.test", 1),)


async def test_records_count_for_bounded_times(caller: Caller) -> None:
    """Whatever they say: at least a minute, at most an hour."""
    for said, counted in ((0.0, 60.0), (1e9, 3600.0)):
        caller.services.seconds = said
        caller.services.records["_matrix-fed._tcp.two.test"] = [Service(1, 1, 1, "a.test")]
        await caller.lookups.whereabouts("two.test")
        asked = len(caller.services.asked)
        caller.elapsed += counted - 1
        await caller.lookups.whereabouts("two.test")
        assert len(caller.services.asked) == asked
        caller.elapsed += 1
        await caller.lookups.whereabouts("two.test")
        assert len(caller.services.asked) == asked + 1
        caller.elapsed += 3600.0


@pytest.mark.parametrize("name", ["", "..", "a b", "one.test:x", "a" * 64 + ".test", "a" * 300])
async def test_what_is_no_name(caller: Caller, name: str) -> None:
    """Nothing is looked up."""
    with pytest.raises(RemoteUnreachable):
        await caller.lookups.whereabouts(name)
    assert (caller.hosts.asked, caller.services.asked) == ([], [])


async def test_a_server_that_says_it_is_nowhere(caller: Caller) -> None:
    """By its service records."""
    caller.services.records["_matrix-fed._tcp.one.test"] = [Service(0, 0, 0, "")]
    with pytest.raises(RemoteUnreachable, match="not available"):
        await caller.lookups.whereabouts("one.test")


async def test_many_at_once(caller: Caller, peer: Peer) -> None:
    """One look-up each."""
    found = await asyncio.gather(*(caller.lookups.whereabouts("one.test") for _ in range(50)))
    assert len(set(found)) == 1
    assert (len(peer.asked), len(caller.services.asked)) == (1, 2)
