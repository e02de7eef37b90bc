"""What all tests share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders.cluster import Cluster, running_cluster
from tests.builders.house import TestHouse, open_house


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The PostgreSQL of this test process."""
    with running_cluster() as running:
        yield running


@pytest.fixture
async def house(cluster: Cluster) -> AsyncIterator[TestHouse]:
    """A house on a fresh database."""
    async with open_house(cluster) as opened:
        yield opened
