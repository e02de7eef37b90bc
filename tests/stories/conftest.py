"""Real servers: one that the tests share, and what they need to start their own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

import pytest

from tests.builders.allies import Ally, allied_servers
from tests.builders.ears import Ears
from tests.builders.people import person
from tests.builders.process import (
    ServerProcess,
    borrowed,
    copy_data,
    prepared_data,
    running_server,
    server_directory,
    shared_server,
)
from tests.builders.two import Two

T = TypeVar("T")


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


@pytest.fixture(scope="session")
def running_allies() -> Iterator[list[Ally]]:
    """The servers behind `allies`."""
    with server_directory() as directory, on_another_loop(allied_servers(directory, 3)) as allies:
        yield allies


@pytest.fixture
def allies(running_allies: list[Ally]) -> Iterator[list[Ally]]:
    """Three running servers that know each other and that other tests used before; none is stopped or cut off."""
    for ally in running_allies:
        ally.check_log()
    yield running_allies
    for ally in running_allies:
        ally.check_log()


@pytest.fixture
async def two(allies: list[Ally]) -> AsyncIterator[Two]:
    """Two people who are strangers still, on servers that other stories use too."""
    here, there, _ = allies
    async with AsyncExitStack() as stack:
        alice, bob = await person(stack, here, "alice"), await person(stack, there, "bob")
        yield Two(stack, here, there, alice, bob, await Ears.of(alice), await Ears.of(bob))


@contextmanager
def on_another_loop(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enters `context` on a loop in a thread: it goes on while tests end their loops and begin others."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        try:
            yield entered
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
