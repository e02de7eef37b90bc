"""Starting servers for tests, and talking to them in bytes."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from config.system import SystemClock
from homeserver.http.limits import ServerLimits
from homeserver.http.routing import Route
from homeserver.http.server import HttpServer
from homeserver.telemetry.metrics import UNFORESEEN_ERRORS

PATIENCE = 20.0
"""Seconds after which a test gives up on what should have happened: it fails instead of hanging."""


def unforeseen() -> float:
    """How many unforeseen errors HTTP has met so far."""
    return float(UNFORESEEN_ERRORS.labels("http")._value.get())


class Starter:
    """Starts servers and stops them again."""

    def __init__(self) -> None:
        self.expected_unforeseen = 0
        self._before = unforeseen()
        self._servers: list[HttpServer] = []

    async def __call__(
        self,
        routes: Iterable[Route],
        *,
        limits: ServerLimits | None = None,
        tls: ssl.SSLContext | None = None,
        stopping: asyncio.Event | None = None,
    ) -> HttpServer:
        server = HttpServer(
            routes, clock=SystemClock(), stopping=stopping if stopping is not None else asyncio.Event(), limits=limits
        )
        self._servers.append(server)
        await server.listen("127.0.0.1", 0, tls)
        return server

    async def stop(self) -> None:
        while Line.opened:
            Line.opened.pop().close()
        for server in self._servers:
            async with asyncio.timeout(PATIENCE):
                await server.drain(0.1)
            assert server.open_connections == 0
        assert unforeseen() - self._before == self.expected_unforeseen


def port_of(server: HttpServer) -> int:
    return server.addresses[0][1]


@dataclass
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def errcode(self) -> str:
        content = self.json
        assert isinstance(content["error"], str)
        code: str = content["errcode"]
        return code


@dataclass
class Line:
    """One connection of a client that says exactly what it is told to."""

    opened: ClassVar[list["Line"]] = []
    """All of them, so that a test that fails leaves none behind."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0

    def __post_init__(self) -> None:
        self.opened.append(self)

    @classmethod
    async def to(cls, server: HttpServer, tls: ssl.SSLContext | None = None) -> "Line":
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server), ssl=tls, server_hostname=name)
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        # Without waiting for the server to take it all: it may answer before.
        self.writer.write(request(method, path, body, **headers))
        return await self.response(method)

    async def response(self, method: str = "GET") -> Response:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            status = int(lines[0].split(" ")[1])
            length = int(headers.get("content-length", "0")) if method != "HEAD" else 0
            return Response(status, headers, await self.reader.readexactly(length))

    async def ended(self) -> bytes:
        """What still comes until the server closes."""
        rest = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while chunk := await self.reader.read(65536):
                    rest += chunk
            except ConnectionError:
                pass
        self.close()
        return rest

    def close(self) -> None:
        self.writer.transport.abort()


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """A request as bytes; `Content_Type="..."` becomes `Content-Type: ...`."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None and "Content_Length" not in headers and "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop its turns until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await _turn()


async def _turn() -> None:
    await asyncio.sleep(0.005)
