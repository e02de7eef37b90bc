"""What all tests share."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.builders.cluster import Cluster, running_cluster
from tests.builders.house import TestHouse, open_house

# The same examples in every run, and nothing that a slow machine decides.
settings.register_profile("parley", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("parley")


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
