"""The client door on a real socket, over the services about users and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clients.limits import Limits
from clients.routes import PublicFacts, account_routes
from homeserver.http.server import HttpServer
from tests.builders.accounts import People, open_people
from tests.builders.cluster import SERVER_NAME, Cluster


class Opened:
    """A server at `url`."""

    def __init__(self, url: str, people: People) -> None:
        self.url = url
        self.people = people


@asynccontextmanager
async def open_door(cluster: Cluster, *, limits: bool = False, **options: Any) -> AsyncIterator[Opened]:
    """`options` are those of `People`."""
    async with open_people(cluster, **options) as people:
        facts = PublicFacts(SERVER_NAME, "https://chat.test.example", "chat.test.example:443")
        routes = account_routes(facts, Limits(people.clock, enabled=limits), people.services())
        server = HttpServer(routes, clock=people.clock, stopping=asyncio.Event())
        await server.listen("127.0.0.1", 0)
        address, port = server.addresses[0]
        try:
            yield Opened(f"http://{address}:{port}", people)
        finally:
            await server.drain(5)


@pytest.fixture
async def opened(cluster: Cluster) -> AsyncIterator[Opened]:
    """Open registration, no rate limits."""
    async with open_door(cluster) as opened:
        yield opened
