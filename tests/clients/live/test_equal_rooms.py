"""The same random history, read by long-poll, over WebSockets that break, and from the tables: the same rooms.

https://spec.matrix.org/v1.19/client-server-api/#syncing; docs/reference/websocket.md
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

from clients.authentication import Door
from clients.endpoints.sync import Sync
from clients.limits import Limits
from clients.live.opening import Opening
from clients.live.sockets import Sockets
from clients.live.work import Work
from clients.routes import routes_of
from config.system import SystemClock, SystemRandomness
from homeserver.domain.errors import Unauthenticated
from homeserver.http.server import HttpServer
from homeserver.services.accounts.filters import Filters
from homeserver.services.accounts.requester import Requester
from homeserver.services.sync.answer import render
from tests.builders.cluster import Cluster
from tests.builders.websocket import Closed, WebSocketClient
from tests.conformance.client import MatrixClient
from tests.services.sync.client_model import Client, HeldRoom, Json, read_answer
from tests.services.sync.convergence import check_convergence, settle
from tests.services.sync.generator import REMOTE_VERBS, VERBS, Step, examples, plan, play_all
from tests.services.sync.story import Story
from tests.services.sync.world import World, open_world

LENGTH = 30
SEEDS = 4


class EverybodyIsIn:
    """Implements `Sessions`: a token is a user and a device."""

    async def authenticate(self, token: str, address: str, *, even_locked: bool = False) -> Requester:
        user_id, _, device_id = token.partition(" ")
        if not device_id:
            raise Unauthenticated("There is no such token")
        return Requester(user_id, device_id, token.encode(), False, False, False, None)

    def confirm(self, requester: Requester, address: str) -> bool:
        return True

    def listen(self, listener: Callable[..., None]) -> None:
        """Nobody ever leaves."""


@asynccontextmanager
async def serve_world(world: World) -> AsyncIterator[str]:
    """The sync of a world over HTTP and WebSockets; its address."""
    clock, everybody = SystemClock(), EverybodyIsIn()
    limits = Limits(clock, enabled=False)
    door = Door(everybody, limits)
    syncs = Sync(world.house.sync, Filters(world.database))
    routes = routes_of([syncs], door)
    sockets = Sockets(everybody, limits, clock, SystemRandomness())
    opening = Opening(sockets, Work(routes, world.house.sync, syncs, sockets.bounds.max_answer))
    server = HttpServer([*routes, *opening.routes(door)], clock=clock, stopping=asyncio.Event())
    await server.listen("127.0.0.1", 0)
    host, port = server.addresses[0]
    try:
        yield f"http://{host}:{port}"
    finally:
        await server.drain(5)


class ByLongPoll:
    """Reads as clients do over HTTP."""

    def __init__(self, client: Client, http: MatrixClient) -> None:
        self.client = client
        self._http = http
        http.token = f"{client.user_id} {client.device_id}"

    async def read(self, chance: random.Random) -> None:
        self.client.hear(await self._ask())

    async def _ask(self) -> Json:
        return await self._http.sync(self.client.since, **self._wanted())

    def _wanted(self) -> Json:
        return {"filter": dict(self.client.wants), "use_state_after": self.client.use_state_after}


class ByWebSocket(ByLongPoll):
    """Reads over a socket that may break whenever it likes."""

    def __init__(self, client: Client, http: MatrixClient, sockets: AsyncExitStack) -> None:
        super().__init__(client, http)
        self._sockets = sockets
        self._socket: WebSocketClient | None = None

    async def read(self, chance: random.Random) -> None:
        if self.client.since is None:
            await super().read(chance)
            return
        if self._socket is None:
            socket = await WebSocketClient.open(self._http.base_url, self._http.token, browser=chance.random() < 0.5)
            self._socket = await self._sockets.enter_async_context(socket)
        id = await self._socket.begin(sync={"since": self.client.since, "timeout": 0, **self._wanted()})
        match chance.randrange(8):
            case 0:
                self._socket.cut()
                self._socket = None
            case 1:
                # It breaks after the server has written its answer.
                with suppress(Closed):
                    await self._socket.answer(id)
                self._socket.cut()
                self._socket = None
            case 2:
                # Another one ends it, or comes too late for that.
                await self._socket.begin(sync={"since": self.client.since, "timeout": 0, **self._wanted()})
                await self._hear(id)
            case 3:
                await self._socket.begin(id, cancel=True)
                await self._hear(id)
            case _:
                await self._hear(id)

    async def _hear(self, id: str) -> None:
        assert self._socket is not None
        answer = await self._socket.answer(id)
        assert answer.status == 200
        self.client.hear(answer.body)


class FromTables(ByLongPoll):
    """Is answered from nothing but the tables."""

    def __init__(self, client: Client, http: MatrixClient, world: World) -> None:
        super().__init__(client, http)
        self._world = world

    async def read(self, chance: random.Random) -> None:
        sync, request = self._world.house.sync, self.client.request()
        after = None if request.since is None else request.since.position
        answer = await sync._from_tables(request, after, self._world.streams.publisher.current())
        self.client.hear(read_answer(render(answer, "state_after" if request.use_state_after else "state")))


def shown(held: HeldRoom) -> Any:
    """What a person sees of a room."""
    summary = {**held.summary, "m.heroes": sorted(held.summary.get("m.heroes", []))}
    return (held.state_ids, held.receipts, held.typing, held.account_data, held.counts, summary, held.ids[-1:])


async def test_the_same_rooms_by_every_way(cluster: Cluster) -> None:
    """Long-poll, WebSocket and tables end with the same, for everybody, whatever broke on the way."""
    async with open_world(cluster) as world, serve_world(world) as url, AsyncExitStack() as stack:

        async def play(world: World, seed: int, steps: Sequence[Step]) -> None:
            story = Story(world, seed)
            await story.begin()
            chance = random.Random(seed)
            readers: list[list[ByLongPoll]] = []
            for person in story.people:
                room = {"timeline": {"limit": chance.choice((1, 5, 10, 50))}}
                clients = [Client(person, f"D{number}", {"room": room}, chance.random() < 0.5) for number in range(3)]
                https = [await stack.enter_async_context(MatrixClient(url)) for _ in clients]
                readers.append(
                    [
                        ByLongPoll(clients[0], https[0]),
                        ByWebSocket(clients[1], https[1], stack),
                        FromTables(clients[2], https[2], world),
                    ]
                )
            for step in steps:
                await story.play(step)
                for reader in (one for trio in readers for one in trio):
                    if chance.random() < 0.4:
                        await reader.read(chance)
            for trio in readers:
                for reader in trio:
                    await settle(world, reader.client)
                    await check_convergence(world, story, reader.client)
                by_poll, by_socket, from_tables = ({**one.client.joined} for one in trio)
                assert set(by_poll) == set(by_socket) == set(from_tables)
                for room_id in by_poll:
                    if not story.is_forked(room_id):
                        views = [shown(rooms[room_id]) for rooms in (by_poll, by_socket, from_tables)]
                        assert views[0] == views[1] == views[2], quote(room_id)

        for seed in examples(SEEDS):
            await play_all(world, play, seed, plan(seed, LENGTH, {**VERBS, **REMOTE_VERBS}))
