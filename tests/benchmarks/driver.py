"""A lean HTTP/1.1 client over asyncio, made to cost the driver little beside the server that it measures.

It does what a JSON API needs: keep-alive, one request at a time on a connection, bodies by Content-Length or
chunked.  It is not a general client: no TLS, no redirects, no bodies that end with the connection.
https://www.rfc-editor.org/rfc/rfc9112
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

LONGEST_ANSWER_SECONDS = 300.0
clock = time.perf_counter


class ConnectionLost(Exception):
    """The server closed the connection before it had answered, or spoke no HTTP/1.1 that we know."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer, with the times at which its request was written and its last byte arrived."""

    status: int
    body: bytes
    asked: float
    arrived: float

    @property
    def milliseconds(self) -> float:
        return (self.arrived - self.asked) * 1000


@dataclass(frozen=True, slots=True)
class Head:
    """What matters of an answer's head: where its body starts and how it ends (length None: chunked)."""

    status: int
    body_start: int
    length: int | None
    keeps_open: bool


def read_head(buffer: bytearray) -> Head | None:
    """The head at the start of the buffer, or None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = bytes(buffer[:end]).lower().split(b"\r\n")
    headers = {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    version, status = first.split(b" ", 2)[:2]
    if version != b"http/1.1":
        raise ConnectionLost(f"the answer starts with {first!r}")
    if int(status) in (204, 304):
        length: int | None = 0
    elif b"chunked" in headers.get(b"transfer-encoding", b""):
        length = None
    elif b"content-length" in headers:
        length = int(headers[b"content-length"])
    else:
        raise ConnectionLost("the answer says nothing of its body's length")
    return Head(int(status), end + 4, length, headers.get(b"connection") != b"close")


class ChunkedBody:
    """Puts a chunked body together as its bytes come."""

    def __init__(self, start: int) -> None:
        self._position = start
        self._parts: list[bytes] = []

    def read(self, buffer: bytearray) -> bytes | None:
        """The body, or None while chunks are missing."""
        while (line_end := buffer.find(b"\r\n", self._position)) >= 0:
            size = int(bytes(buffer[self._position : line_end]).partition(b";")[0], 16)
            chunk_end = line_end + 2 + size
            if len(buffer) < chunk_end + 2:
                return None
            if size == 0:
                return b"".join(self._parts)
            self._parts.append(bytes(buffer[line_end + 2 : chunk_end]))
            self._position = chunk_end + 2
        return None


class Connection(asyncio.Protocol):
    """One keep-alive connection that carries one request at a time."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None
        self._chunks: ChunkedBody | None = None
        self._asked = 0.0
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport, though they have all that it has.
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Writes a request; the future is the answer."""
        assert self._transport is not None
        self._buffer.clear()
        self._head = self._chunks = None
        self._answer = asyncio.get_running_loop().create_future()
        self._asked = clock()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        arrived = clock()
        self._buffer += data
        if self._answer is None or self._answer.done():
            self.abort()
            return
        try:
            body = self._read()
        except (ConnectionLost, ValueError) as error:
            self._answer.set_exception(ConnectionLost(str(error)))
            self.abort()
            return
        if body is not None and self._head is not None:
            if not self._head.keeps_open:
                self.abort()
            self._answer.set_result(Answer(self._head.status, body, self._asked, arrived))

    def _read(self) -> bytes | None:
        if self._head is None:
            self._head = read_head(self._buffer)
            if self._head is None:
                return None
            if self._head.length is None:
                self._chunks = ChunkedBody(self._head.body_start)
        if self._chunks is not None:
            return self._chunks.read(self._buffer)
        end = self._head.body_start + (self._head.length or 0)
        return bytes(self._buffer[self._head.body_start : end]) if len(self._buffer) >= end else None

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLost(str(exc or "closed without an answer")))

    def abort(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()


class Client:
    """Keep-alive connections to one server on this machine; as many as requests are under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    async def request(
        self, method: str, path: str, token: str | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """One exchange.  Raises ConnectionLost, TimeoutError, or OSError where nobody listens."""
        connection = await self._connection()
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
                answer = await connection.ask(self._encode(method, path, token, body))
        except BaseException:
            connection.abort()
            raise
        if connection.usable:
            self._idle.append(connection)
        return answer

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        _, opened = await loop.create_connection(Connection, "127.0.0.1", self._port)
        return opened

    def _encode(self, method: str, path: str, token: str | None, body: Mapping[str, Any] | None) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self._port}\r\nAccept: */*\r\n"
        if token is not None:
            head += f"Authorization: Bearer {token}\r\n"
        if method == "GET":
            return f"{head}\r\n".encode()
        content = orjson.dumps(body or {})
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        return head.encode() + content

    def close(self) -> None:
        """Drops the connections that are idle."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
