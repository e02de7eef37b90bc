"""Answers that are made while they are sent: in chunks, held back by slow clients, ended by a client or a failure."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from homeserver.domain.errors import Unavailable
from homeserver.http.answers import StreamedAnswer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from tests.http.driver import Line, Starter, request, until

PART = b" " * 100_000


class Source:
    """Makes parts, and remembers how far it came."""

    def __init__(self, parts: int, failure: Exception | None = None, waits: bool = False) -> None:
        self.made = 0
        self.closed = False
        self._parts = parts
        self._failure = failure
        self._waits = waits

    async def answer(self, request: Request) -> StreamedAnswer:
        return StreamedAnswer(b"[", self._rest())

    async def _rest(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self._parts):
                self.made += 1
                yield PART
            if self._waits:
                await asyncio.get_running_loop().create_future()
            if self._failure is not None:
                raise self._failure
            yield b""
            yield b"]"
        finally:
            self.closed = True

    @property
    def routes(self) -> list[Route]:
        return [Route("GET", "/much", self.answer)]


async def body_of(line: Line) -> bytes:
    """The body of a chunked answer whose head was read."""
    parts: list[bytes] = []
    while size := int(await line.reader.readline(), 16):
        parts.append(await line.reader.readexactly(size))
        assert await line.reader.readexactly(2) == b"\r\n"
    assert await line.reader.readexactly(2) == b"\r\n"
    return b"".join(parts)


async def test_parts_become_chunks_and_the_connection_goes_on(start: Starter) -> None:
    """The client has the whole body, and asks again on the same connection."""
    source = Source(3)
    line = await Line.to(await start(source.routes))
    for _ in range(2):
        response = await line.ask("GET", "/much")
        assert (response.status, response.headers["content-type"]) == (200, "application/json")
        assert response.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in response.headers
        assert await body_of(line) == b"[" + 3 * PART + b"]"
    assert source.closed


async def test_an_old_client_gets_it_without_chunks(start: Starter) -> None:
    """HTTP/1.0 knows no chunks: the body ends with the connection."""
    line = await Line.to(await start(Source(1).routes))
    await line.send(b"GET /much HTTP/1.0\r\nHost: localhost\r\n\r\n")
    head, _, body = (await line.ended()).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"[" + PART + b"]"


async def test_head_brings_no_body_and_makes_no_part(start: Starter) -> None:
    """The rest is closed unasked."""
    source = Source(1)
    line = await Line.to(await start(source.routes))
    response = await line.ask("HEAD", "/much")
    assert (response.status, source.made) == (200, 0)
    assert (await line.ask("HEAD", "/much")).status == 200


async def test_no_more_is_made_than_the_client_takes(start: Starter) -> None:
    """The source is only so far ahead of a client as the buffers between them are large."""
    source = Source(1_000)
    line = await Line.to(await start(source.routes))
    await line.ask("GET", "/much")
    taken = 0
    while size := int(await line.reader.readline(), 16):
        taken += len(await line.reader.readexactly(size + 2)) - 2
        assert source.made - taken // len(PART) < 300
    assert taken == 1_000 * len(PART) + 2


async def test_a_client_that_leaves_ends_the_source(start: Starter) -> None:
    """Also while the source itself waits: it is cancelled, and closed."""
    source = Source(1, waits=True)
    server = await start(source.routes)
    line = await Line.to(server)
    await line.send(request("GET", "/much"))
    await until(lambda: source.made == 1)
    line.close()
    await until(lambda: source.closed and server.requests_in_flight == 0)


@pytest.mark.parametrize("failure", [ValueError("nobody foresaw it"), Unavailable("The database is away")])
async def test_a_failure_in_the_middle_cuts_the_connection(start: Starter, failure: Exception) -> None:
    """The status is sent already: that the answer is not whole is told by its missing end."""
    start.expected_unforeseen = isinstance(failure, ValueError)
    source = Source(2, failure)
    line = await Line.to(await start(source.routes))
    await line.send(request("GET", "/much"))
    assert b"]" not in await line.ended()
    assert source.closed
