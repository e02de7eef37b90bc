"""What the tests of federation share: uvloop, as in production, and a keyring over a network that is a dictionary."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from federation.key_lookups import KeyLookups
from federation.keyring import Keyring
from federation.own_keys import OwnKeys
from federation.threads import Threads
from tests.builders.certificate import CertificateAuthority
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.house import TestHouse, open_house
from tests.builders.identity import TS, Peer
from tests.builders.machine import HandClock
from tests.federation.hostile import Hostile, hostile_server
from tests.federation.network import KEYS, MemoryShelf, Network
from tests.federation.ours import Ours, open_ours


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Bench:
    """A keyring of `test.example`, and everything around it that a test may want to hold."""

    network: Network = field(default_factory=Network)
    shelf: MemoryShelf = field(default_factory=MemoryShelf)
    clock: HandClock = field(default_factory=lambda: HandClock(TS))
    own: Peer = field(default_factory=lambda: Peer(SERVER_NAME))
    threads: Threads = field(default_factory=Threads)

    def __post_init__(self) -> None:
        self.own_keys = OwnKeys(SERVER_NAME, self.own.key, [], self.clock)
        self.restart()

    def restart(self, notaries: Sequence[str] = ()) -> None:
        """A new keyring, whose memory is empty."""
        self.lookups = KeyLookups(self.network, self.shelf, self.clock, notaries)
        self.keyring = Keyring(SERVER_NAME, self.own_keys.keys, self.shelf, self.lookups, self.threads, self.clock)

    def online(self, *peers: Peer) -> None:
        """These answer for their keys."""
        for peer in peers:
            self.network.answers[peer.name, KEYS] = peer.keys()


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[tuple[str, Path]]:
    """A database and a directory for one house after the other: to make them for each test takes long."""
    url = cluster.new_database()
    with tempfile.TemporaryDirectory(prefix="parley-house-") as directory:
        yield url, Path(directory)
    cluster.drop(url)


@pytest.fixture
async def next_house(cluster: Cluster, place: tuple[str, Path]) -> AsyncIterator[TestHouse]:
    """A house in which no keys of other servers are known; the rooms of earlier tests are there."""
    async with open_house(cluster, *place) as opened:
        for table in ("server_keys", "server_key_answers"):
            await opened.database.write(lambda store, table=table: store.transaction.text(f"DELETE FROM {table}"))
        yield opened


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    opened = Bench()
    yield opened
    await opened.lookups.close()
    opened.threads.close()


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Whom ours trusts."""
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(cluster: Cluster, trusted: CertificateAuthority) -> AsyncIterator[Ours]:
    """Our server with its federation door, for all tests of a module: each has rooms of its own."""
    async with open_ours(cluster, trusted) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def mallory(ours: Ours, trusted: CertificateAuthority) -> AsyncIterator[Hostile]:
    """A hostile server that nobody knows yet."""
    async with hostile_server(ours, trusted) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def honest(ours: Ours, trusted: CertificateAuthority) -> AsyncIterator[Hostile]:
    """Another server, which has no lies to tell."""
    async with hostile_server(ours, trusted) as opened:
        yield opened
