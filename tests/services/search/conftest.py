"""One scene for all tests of a module: they act in rooms of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.builders.cluster import Cluster
from tests.services.rooms.scene import Scene, open_scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    async with open_scene(cluster) as opened:
        yield opened
