"""A scene whose outbox sends to servers that are a dictionary."""

from collections.abc import AsyncIterator

import pytest

from config.compose.storage import Streams
from tests.builders.cluster import Cluster
from tests.federation.outbound.peers import Peers
from tests.services.rooms.scene import Scene, open_scene


@pytest.fixture
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    async with open_scene(cluster) as opened:
        yield opened


@pytest.fixture
def streams(scene: Scene) -> Streams:
    built = scene.built
    return Streams(built.positions, built.tail, built.notifier, built.publisher, "epoch")


@pytest.fixture
def peers() -> Peers:
    return Peers()
