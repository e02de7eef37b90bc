"""Real servers that the tests share: with the PostgreSQL that Parley brings, and with Debian's."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.builders.own_postgres import OwnPostgres, ServerOnOwnPostgres, postgres_directory
from tests.builders.process import ServerProcess, borrowed, server_directory, shared, shared_server
from tests.interop.nio_people import PASSWORD, ok, user


@pytest.fixture(scope="session")
def embedded() -> Iterator[ServerProcess]:
    """A server with a PostgreSQL of its own."""
    with server_directory() as directory, shared_server(directory) as one:
        yield one


@pytest.fixture(scope="session")
def debian() -> Iterator[ServerProcess]:
    """A server with `database.url`."""
    with server_directory() as directory, postgres_directory() as place:
        postgres = OwnPostgres(place)
        try:
            asyncio.run(postgres.create())
            with shared(ServerOnOwnPostgres(directory, postgres)) as one:
                yield one
        finally:
            postgres.dispose()


@pytest.fixture(params=["embedded", "debian"])
def shared_by_tests(request: pytest.FixtureRequest) -> ServerProcess:
    """One after the other. Both stay until the end, so that the order of the tests does not matter."""
    server: ServerProcess = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def server(shared_by_tests: ServerProcess) -> AsyncIterator[ServerProcess]:
    """A running server that other tests used before; it may be stopped, and need not be started again."""
    async with borrowed(shared_by_tests) as one:
        yield one


@pytest.fixture
async def alice(server: ServerProcess) -> AsyncIterator[Any]:
    """Registered and logged in."""
    async with user(server, "alice") as client:
        ok(await client.register(client.user, PASSWORD, device_name="Alice's desk"), "RegisterResponse")
        yield client


@pytest.fixture
async def bob(server: ServerProcess) -> AsyncIterator[Any]:
    """Registered, and logged in a second time as clients are on the next morning."""
    async with user(server, "bob") as client:
        ok(await client.register(client.user, PASSWORD), "RegisterResponse")
        ok(await client.logout(), "LogoutResponse")
        ok(await client.login(PASSWORD, device_name="Bob's pocket"), "LoginResponse")
        assert ok(await client.whoami(), "WhoamiResponse").user_id == f"@{client.user}:localhost"
        yield client
