"""A real server that the tests share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders.process import ServerProcess, borrowed, server_directory, shared_server


@pytest.fixture(scope="session")
def shared() -> Iterator[ServerProcess]:
    """The server behind `server`."""
    with server_directory() as directory, shared_server(directory) as one:
        yield one


@pytest.fixture
async def server(shared: ServerProcess) -> AsyncIterator[ServerProcess]:
    """A running server that other tests used before; it may be stopped, and need not be started again."""
    async with borrowed(shared) as one:
        yield one
