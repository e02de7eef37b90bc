"""Real servers: one that the tests share, and what they need to start their own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.builders.process import (
    ServerProcess,
    borrowed,
    copy_data,
    prepared_data,
    running_server,
    server_directory,
    shared_server,
)


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """A data directory of `localhost`, to be copied."""
    with prepared_data() as data:
        yield data


@pytest.fixture
def fresh() -> Iterator[Path]:
    """A directory for a server of which nothing is there yet."""
    with server_directory() as directory:
        yield directory


@pytest.fixture
def place(prepared: Path, fresh: Path) -> Path:
    """A directory for a server `localhost`, with its data directory."""
    copy_data(prepared, fresh)
    return fresh


@pytest.fixture
async def own_server(place: Path) -> AsyncIterator[ServerProcess]:
    """A running server for this test alone."""
    async with running_server(place) as running:
        yield running


@pytest.fixture(scope="session")
def shared(prepared: Path) -> Iterator[ServerProcess]:
    """The server behind `server`."""
    with server_directory() as directory:
        copy_data(prepared, directory)
        with shared_server(directory) as one:
            yield one


@pytest.fixture
async def server(shared: ServerProcess) -> AsyncIterator[ServerProcess]:
    """A running server that other tests used before; it may be stopped, and need not be started again."""
    async with borrowed(shared) as one:
        yield one
