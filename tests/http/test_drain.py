"""How a server stops: nobody loses an answer that was on its way, and nobody can delay the end."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.http.server import HttpServer
from tests.http.driver import Line, Starter, request, until


class House:
    """Endpoints that wait: for their work to be done, for something new, or for ever."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.work_done = asyncio.Event()
        self.cancelled = asyncio.Event()

    @property
    def routes(self) -> list[Route]:
        return [
            Route("GET", "/work", self.work),
            Route("GET", "/sync", self.sync),
            Route("GET", "/stuck", self.stuck),
            Route("GET", "/stubborn", self.stubborn),
            Route("POST", "/take", self.take),
        ]

    async def work(self, request: Request) -> Mapping[str, Any]:
        await self.work_done.wait()
        return {"done": True}

    async def sync(self, request: Request) -> Mapping[str, Any]:
        await self.stopping.wait()
        return {"next_batch": "s1"}

    async def stuck(self, request: Request) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return Answer()

    async def stubborn(self, request: Request) -> Answer:
        """Cleans up behind itself when it is cancelled, which takes a few turns."""
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            self.cancelled.set()
        return Answer()

    async def take(self, request: Request) -> Mapping[str, Any]:
        return {"keys": len(await request.json_object())}


@pytest.fixture
def house() -> House:
    return House()


async def draining(server: HttpServer, house: House, seconds: float = 30) -> "asyncio.Task[None]":
    task = asyncio.create_task(server.drain(seconds))
    async with asyncio.timeout(20):
        await house.stopping.wait()
    return task


async def test_requests_in_flight_finish(start: Starter, house: House) -> None:
    """Work goes on and is answered; then its connection ends."""
    server = await start(house.routes, stopping=house.stopping)
    line = await Line.to(server)
    await line.send(request("GET", "/work"))
    await until(lambda: server.requests_in_flight == 1)
    drain = await draining(server, house)
    assert not drain.done()
    house.work_done.set()
    answer = await line.response()
    assert answer.json == {"done": True}
    assert answer.headers["connection"] == "close"
    assert await line.ended() == b""
    async with asyncio.timeout(20):
        await drain


async def test_waiting_syncs_answer_empty(start: Starter, house: House) -> None:
    """Long-polls hear of the end and answer at once, so that clients come back to the next process."""
    server = await start(house.routes, stopping=house.stopping)
    lines = [await Line.to(server) for _ in range(5)]
    for line in lines:
        await line.send(request("GET", "/sync"))
    await until(lambda: server.requests_in_flight == 5)
    async with asyncio.timeout(20):
        await server.drain(30)
    for line in lines:
        assert (await line.response()).json == {"next_batch": "s1"}
        line.close()


async def test_newcomers_are_refused_and_the_idle_are_closed(start: Starter, house: House) -> None:
    """No new connection, no next request, while work is still being done."""
    server = await start(house.routes, stopping=house.stopping)
    idle, half, working = [await Line.to(server) for _ in range(3)]
    assert (await idle.ask("OPTIONS", "/work")).status == 204
    await half.send(b"GET /work HTTP/1.1\r\nHo")
    await working.send(request("GET", "/work"))
    await until(lambda: server.requests_in_flight == 1)
    address = server.addresses[0]
    drain = await draining(server, house)
    assert await idle.ended() == b""
    assert await half.ended() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    house.work_done.set()
    assert (await working.response()).status == 200
    working.close()
    async with asyncio.timeout(20):
        await drain


async def test_an_upload_goes_on(start: Starter, house: House) -> None:
    """A request whose body is still on its way is in flight too."""
    server = await start(house.routes, stopping=house.stopping)
    line = await Line.to(server)
    await line.send(request("POST", "/take", None, Content_Length="7") + b'{"a"')
    await until(lambda: server.requests_in_flight == 1)
    drain = await draining(server, house)
    await line.send(b":1}")
    assert (await line.response()).json == {"keys": 1}
    line.close()
    async with asyncio.timeout(20):
        await drain


@pytest.mark.parametrize("path", ["/stuck", "/stubborn"])
async def test_what_does_not_finish_is_cut(start: Starter, house: House, path: str) -> None:
    """After the bound the request is cancelled, its connection closed, and its clean-up awaited."""
    server = await start(house.routes, stopping=house.stopping)
    line = await Line.to(server)
    await line.send(request("GET", path))
    await until(lambda: server.requests_in_flight == 1)
    async with asyncio.timeout(20):
        await server.drain(0.05)
    assert house.cancelled.is_set()
    assert server.open_connections == 0
    assert server.requests_in_flight == 0
    assert await line.ended() == b""


async def test_draining_twice_and_draining_nothing(start: Starter, house: House) -> None:
    """An impatient operator presses twice."""
    server = await start(house.routes, stopping=house.stopping)
    async with asyncio.timeout(20):
        await server.drain(1)
        await server.drain(1)
