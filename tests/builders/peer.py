"""Another server, as little of one as a test needs: TLS (or not), HTTP, and whatever answer the test wants.

    async with running_peer(authority, "one.test") as peer:
        peer.answer = lambda asked: Reply(200, {"server": {}})
        ...
        assert peer.asked[0].target == "/_matrix/federation/v1/version"

Names are led to it by `Hosts`, a resolver of the tests. Not here: a server that speaks the protocol.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from homeserver.http.outbound.resolver import Place
from tests.builders.certificate import CertificateAuthority

# Ports that peers of this process have listened on.
_GIVEN: set[int] = set()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came. Names of headers are in lower case. `sni` is None where TLS named nobody."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    sni: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """`content`: bytes as they are, or a value as JSON."""

    status: int = 200
    content: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        body = self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# Gives the reply, or writes one by itself; what it writes is the end of the connection.
Answer = Callable[[Asked], Reply]
Writing = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """`answer` makes the replies; `write`, if it is set, speaks instead. `connections` counts all that came, those
    whose TLS led to nothing too."""

    def __init__(self, address: str, tls: ssl.SSLContext | None) -> None:
        self.address = address
        self.port = 0
        self.asked: list[Asked] = []
        self.connections = 0
        self.answer: Answer = lambda asked: Reply()
        self.write: Writing | None = None
        self._tls = tls
        self._named: WeakKeyDictionary[ssl.SSLObject, str | None] = WeakKeyDictionary()
        self._lines: set[asyncio.Task[None]] = set()

    @property
    def place(self) -> Place:
        return self.address, self.port

    async def listen(self, port: int = 0) -> asyncio.Server:
        """Without a port, on one that no peer of this process had before: for who has met it, its address is its name,
        and a newcomer there would be answered as the one before."""
        if self._tls is not None:
            self._tls.sni_callback = self._begins
        while True:
            server = await asyncio.start_server(self._connected, self.address, port, ssl=self._tls)
            self.port = server.sockets[0].getsockname()[1]
            if port or self.port not in _GIVEN:
                _GIVEN.add(self.port)
                return server
            server.close()
            await server.wait_closed()

    def _begins(self, line: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.connections += 1
        self._named[line] = name

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        line = writer.get_extra_info("ssl_object")
        self.connections += line is None
        try:
            # Cancelled by `end`.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer, None if line is None else self._named[line])
        finally:
            self._lines.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sni: str | None) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(method, target, headers, body, sni)
            self.asked.append(asked)
            if self.write is not None:
                await self.write(asked, writer)
                return
            writer.write(self.answer(asked).encoded())
            await writer.drain()

    async def end(self) -> None:
        """Cuts all connections."""
        for task in [*self._lines]:
            task.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)


@asynccontextmanager
async def running_peer(
    authority: CertificateAuthority | None, *names: str, address: str = "127.0.0.1"
) -> AsyncIterator[Peer]:
    """Listens on a free port, with a certificate of `authority` for `names`; without one it speaks plain HTTP."""
    peer = Peer(address, None if authority is None else authority.server_context(*names))
    server = await peer.listen()
    try:
        yield peer
    finally:
        server.close()
        await peer.end()
        await server.wait_closed()


class Hosts:
    """Implements `Resolver`: names, each with the addresses and ports where it is reached, whatever port is asked for;
    a name with a port (`one.test:443`) goes over the name alone. Several lists are given one after the other."""

    def __init__(self) -> None:
        self.places: dict[str, Sequence[Place]] = {}
        self.in_turn: dict[str, list[Sequence[Place]]] = {}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[Place]:
        self.asked.append(f"{host}:{port}")
        if self.in_turn.get(host):
            return self.in_turn[host].pop(0)
        found = self.places.get(f"{host}:{port}", self.places.get(host))
        if found is None:
            raise OSError(f"no address for {host}")
        return found
