"""The whole client door on a real socket, over a real house: people register, and say what they want over HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from clients.limits import Limits
from clients.live.bounds import PROTOCOL, Bounds
from clients.live.sockets import Sockets
from clients.routes import Live, PublicFacts, client_routes
from config.compose.accounts import build_accounts
from config.settings import PasswordSettings, RegistrationSettings, Settings
from config.system import SystemClock, SystemRandomness
from homeserver.http.server import HttpServer
from homeserver.services.accounts.user_limits import UserLimits
from tests.builders.cluster import SERVER_NAME
from tests.builders.house import TestHouse
from tests.conformance.client import MatrixClient

SETTINGS = Settings(
    server_name=SERVER_NAME,
    data_directory=Path("/nowhere"),
    registration=RegistrationSettings(policy="open+guests"),
    passwords=PasswordSettings(time_cost=1, memory_kib=8),
)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


class Served:
    """A server at `url`. Its clients are closed with it."""

    def __init__(
        self,
        url: str,
        house: TestHouse,
        clients: AsyncExitStack,
        server: HttpServer,
        sockets: Sockets,
        limits: Limits | None = None,
    ) -> None:
        self.url = url
        self.house = house
        self.server = server
        self.sockets = sockets
        self.limits = limits
        self._clients = clients

    async def stranger(self) -> MatrixClient:
        """Somebody without an account."""
        return await self._clients.enter_async_context(MatrixClient(self.url))

    async def user(self, name: str) -> MatrixClient:
        """A new account, logged in."""
        client = await self.stranger()
        await client.register(name)
        return client

    async def guest(self) -> MatrixClient:
        """A new guest."""
        client = await self.stranger()
        await client.register_guest()
        return client

    async def suspend(self, client: MatrixClient) -> None:
        """As an administrator does. The client goes on with a new session: who is suspended is known by session."""
        suspend = "UPDATE users SET suspended = true WHERE user_id = %s"
        await self.house.database.write(lambda store: store.transaction.text(suspend, client.user_id))
        await client.login(client.user_id)

    async def admin(self, name: str) -> MatrixClient:
        """A new account that may administer the server."""
        client = await self.user(name)
        promote = "UPDATE users SET admin = true WHERE user_id = %s"
        await self.house.database.write(lambda store: store.transaction.text(promote, client.user_id))
        await client.login(client.user_id)
        return client


@asynccontextmanager
async def serve(
    house: TestHouse,
    *,
    limits: bool = False,
    rows: Mapping[str, Mapping[str, float] | None] | None = None,
    bounds: Bounds = PROTOCOL,
    origins: tuple[str, ...] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Served]:
    """`limits`: the rate limits are on, `rows` of them different. `bounds` and `origins` are those of WebSockets."""
    clock = SystemClock()
    services = house.services
    users = UserLimits(house.database)
    await users.load()
    desk = build_accounts(
        SETTINGS,
        "secret",
        house.database,
        house.streams.publisher,
        services.membership,
        clock,
        SystemRandomness(),
        user_limits=users,
    )
    facts = PublicFacts(SERVER_NAME)
    throttles = Limits(clock, rows, enabled=limits, users=users)
    sockets = Sockets(desk.accounts.sessions, throttles, clock, SystemRandomness(), bounds)
    routes = client_routes(facts, throttles, desk.accounts, services, Live(sockets, origins))
    server = HttpServer(routes, clock=clock, stopping=asyncio.Event())
    await server.listen("127.0.0.1", 0, tls)
    address, port = server.addresses[0]
    try:
        async with AsyncExitStack() as clients:
            yield Served(f"http{'s' if tls else ''}://{address}:{port}", house, clients, server, sockets, throttles)
    finally:
        services.sync.stop()
        await server.drain(5)
        desk.hashing.close()


@pytest.fixture
async def served(house: TestHouse) -> AsyncIterator[Served]:
    """Open registration, no rate limits."""
    async with serve(house) as opened:
        yield opened


@pytest.fixture
async def alice(served: Served) -> MatrixClient:
    return await served.user("alice")


@pytest.fixture
async def bob(served: Served) -> MatrixClient:
    return await served.user("bob")


@pytest.fixture
async def carol(served: Served) -> MatrixClient:
    return await served.user("carol")
