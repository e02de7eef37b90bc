"""The services about users on a real database."""

from collections.abc import AsyncIterator

import pytest

from tests.builders.accounts import People, open_people
from tests.builders.cluster import Cluster


@pytest.fixture
async def people(cluster: Cluster) -> AsyncIterator[People]:
    """Open registration, sessions that never expire, the cheapest hash."""
    async with open_people(cluster) as people:
        yield people
