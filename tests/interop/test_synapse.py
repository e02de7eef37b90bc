"""Three of the stories with a real Synapse, one for each room version; `make interop` tells all of them.

Needs the Synapse venv (`scripts/synapse-venv`), which is built when it is absent; without it these tests fail.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.builders.process import server_directory
from tests.interop.synapse.listed import STORIES, meeting
from tests.interop.synapse.people import Servers, two_servers

# Both servers are started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with server_directory() as directory:
        yield directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(place: Path) -> AsyncIterator[Servers]:
    async with two_servers(place) as running:
        yield running


@pytest.mark.parametrize(
    ("story", "host", "version"), [("talk", "synapse", "11"), ("backfill", "synapse", "10"), ("fork", "parley", "12")]
)
async def test_story(servers: Servers, story: str, host: str, version: str) -> None:
    """As `tests/interop/synapse` tells it."""
    try:
        await STORIES[story](meeting(servers, host, version))
    finally:
        servers.heal()
