"""What the tests of federation share: uvloop, as in production, and a keyring over a network that is a dictionary."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from federation.key_lookups import KeyLookups
from federation.keyring import Keyring
from federation.own_keys import OwnKeys
from federation.threads import Threads
from tests.builders.cluster import SERVER_NAME
from tests.builders.identity import TS, Peer
from tests.builders.machine import HandClock
from tests.federation.network import KEYS, MemoryShelf, Network


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


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    opened = Bench()
    yield opened
    await opened.lookups.close()
    opened.threads.close()
