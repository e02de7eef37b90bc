"""The federation door of a house on a real socket, and a way to ask it as any server, or as nobody.

    async with serve(house, network) as front:
        answer = await front.ask(peer, "GET", "/_matrix/federation/v1/event/$x")

Answers are checked against the facts of the spec, as in `tests.conformance`.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from config.compose.verification import Verification, build_verification
from config.settings import FederationSettings, Settings
from federation.authentication import PeerDoor
from federation.partners import Partners
from homeserver.domain.signing import generate_key
from homeserver.http.routing import Route
from homeserver.http.server import HttpServer
from tests.builders.cluster import SERVER_NAME
from tests.builders.house import TestHouse
from tests.builders.identity import TS, Peer
from tests.builders.machine import HandClock
from tests.conformance.client import PATH_CHARACTERS, PATIENCE, Answer, MatrixClient, query_text
from tests.federation.network import Network


@dataclass(frozen=True, slots=True)
class Front:
    """`client` is without a signature of its own."""

    url: str
    client: MatrixClient
    verification: Verification
    network: Network
    clock: HandClock

    async def ask(
        self, peer: Peer | None, method: str, path: str, body: Any = None, header: str | None = None, query: Any = None
    ) -> Answer:
        """As `peer`, properly signed unless `header` is given; as nobody if it is None."""
        headers = {} if header is None else {"Authorization": header}
        if peer is not None and header is None:
            content = {} if body is None and method in ("POST", "PUT") else body
            uri = quote(path, safe=PATH_CHARACTERS) + ("?" + query_text(query) if query else "")
            headers["Authorization"] = peer.authorization(method, uri, SERVER_NAME, content)
        return await self.client.ask(method, path, body, headers=headers, query=query)

    async def put_large(self, path: str, body: bytes, header: str) -> tuple[int, Any]:
        """Status and JSON of a PUT whose body has megabytes."""
        headers = {"Authorization": header, "Content-Length": str(len(body))}
        async with (
            aiohttp.ClientSession(timeout=PATIENCE) as session,
            session.put(self.url + path, data=io.BytesIO(body), headers=headers) as response,
        ):
            return response.status, await response.json()


@asynccontextmanager
async def serve(
    house: TestHouse,
    network: Network,
    *,
    settings: FederationSettings | None = None,
    more: Callable[[PeerDoor], list[Route]] = lambda door: [],
) -> AsyncIterator[Front]:
    """`more` declares routes of a test's own."""
    clock = HandClock(TS)
    wanted = FederationSettings() if settings is None else settings
    whole = Settings(server_name=SERVER_NAME, data_directory=Path("/nowhere"), federation=wanted)
    partners = Partners(wanted.enabled, wanted.allow_servers, wanted.deny_servers)
    key = generate_key(b"test" * 8, "a_test")
    verification = build_verification(whole, house.database, key, network, partners, clock)
    routes = [*verification.routes(), *more(verification.door)]
    server = HttpServer(routes, clock=clock, stopping=asyncio.Event())
    await server.listen("127.0.0.1", 0)
    address, port = server.addresses[0]
    url = f"http://{address}:{port}"
    try:
        async with MatrixClient(url) as client:
            yield Front(url, client, verification, network, clock)
    finally:
        await server.drain(5)
        await verification.close()
