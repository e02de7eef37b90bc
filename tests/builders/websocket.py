"""A WebSocket client for tests, which speaks `io.parley.v1` well, or exactly as badly as it is told to.

    async with await WebSocketClient.open(url, token) as socket:
        hello = await socket.told("hello")
        answer = await socket.ask(request={"method": "PUT", "path": path, "body": {...}})
        await socket.frame(TEXT, b"{", fin=False)
        assert (await socket.closed()).code == 4400

It reads only when it is asked to, so that whoever never asks is a client that does not read.
https://www.rfc-editor.org/rfc/rfc6455
"""

import asyncio
import base64
import itertools
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

from tests.builders.waiting import PATIENCE

PATH = "/_matrix/client/unstable/io.parley.websocket"
PROTOCOL = "io.parley.v1"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

Json = dict[str, Any]


class Refused(Exception):
    """The server answered with HTTP."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Json) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.headers, self.body = status, headers, body


class Closed(Exception):
    """The server has closed: `code` is 1006 if it did not say so."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Json


def bearer(token: str) -> str:
    """The subprotocol that carries a token."""
    return "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """A frame of a client."""
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first, bit | 127)) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    pad = key * (size // 4 + 1)
    covered = int.from_bytes(payload) ^ int.from_bytes(pad[:size])
    return head + key + covered.to_bytes(size)


class WebSocketClient:
    """Use it in `async with`: it is cut at the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._ids = itertools.count(1)
        self._partial = b""
        self._is_half = False
        self._kept: list[Json] = []
        self.answers_pings = True
        self.heartbeats = 0
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.headers: Mapping[str, str] = {}

    @classmethod
    async def open(
        cls,
        url: str,
        token: str | None = None,
        *,
        browser: bool = False,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        context: ssl.SSLContext | None = None,
        buffer: int = 0,
    ) -> Self:
        """`browser`: the token goes in a subprotocol. `headers` are added, or replace what is sent (None: left out).
        `buffer`: how much this end buffers, roughly. Raises Refused."""
        parts = urlsplit(url)
        plain = socket.create_connection((parts.hostname or "", parts.port or 80))
        if buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.setblocking(False)
        tls: dict[str, Any] = {"ssl": context, "server_hostname": "localhost"} if parts.scheme == "https" else {}
        reader, writer = await asyncio.open_connection(sock=plain, limit=buffer or 2**16, **tls)
        one = cls(reader, writer)
        sent: dict[str, str | None] = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": f"{PROTOCOL}, {bearer(token)}" if token and browser else PROTOCOL,
        }
        if token and not browser:
            sent["Authorization"] = f"Bearer {token}"
        sent |= headers or {}
        lines = [f"GET {PATH}{query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in sent.items() if value is not None]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        try:
            await one._shake_hands()
        except BaseException:
            one.cut()
            raise
        return one

    async def _shake_hands(self) -> None:
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            pairs = (line.partition(": ") for line in head[1:] if line)
            self.headers = {name.lower(): value for name, _, value in pairs}
            if status != 101:
                body = await self._reader.readexactly(int(self.headers.get("content-length", "0")))
                raise Refused(status, self.headers, orjson.loads(body) if body else {})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """As when the line breaks."""
        self._writer.transport.abort()

    # sending

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def write(self, data: bytes) -> None:
        """Without waiting until it is sent; nothing once this side is closed."""
        if not self._is_half:
            self._writer.write(data)

    def half_close(self) -> None:
        """Sends nothing more, and goes on listening."""
        self._is_half = True
        self._writer.write_eof()

    async def frame(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        await self.raw(masked(opcode, payload, **how))

    async def say(self, content: Json) -> None:
        await self.frame(TEXT, orjson.dumps(content))

    async def begin(self, id: str | None = None, **content: Any) -> str:
        """Sends a frame with an id, which is returned."""
        id = id or f"i{next(self._ids)}"
        await self.say({"id": id, **content})
        return id

    async def goodbye(self, code: int = 1000) -> None:
        await self.frame(CLOSE, struct.pack("!H", code))

    # receiving

    async def receive(self) -> Json:
        """The next frame that is no heartbeat, of those that nobody took. Raises Closed."""
        return self._kept.pop(0) if self._kept else await self._next()

    async def told(self, name: str) -> Any:
        """What the next frame that has this member says in it."""
        return (await self._that(lambda one: name in one))[name]

    async def answer(self, id: str) -> Answer:
        """The answer to a frame."""
        found = await self._that(lambda one: one.get("id") == id)
        return Answer(found["status"], found["body"])

    async def ask(self, **content: Any) -> Answer:
        return await self.answer(await self.begin(**content))

    async def closed(self) -> Closed:
        """How it ends; what comes before is thrown away."""
        try:
            while True:
                await self._next()
        except Closed as closed:
            return closed

    async def _that(self, is_it: Any) -> Json:
        for place, kept in enumerate(self._kept):
            if is_it(kept):
                return self._kept.pop(place)
        while not is_it(found := await self._next()):
            self._kept.append(found)
        return found

    async def _next(self) -> Json:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    message = await self._message()
                except (asyncio.IncompleteReadError, ConnectionError):
                    raise Closed(1006) from None
                if message is None:
                    continue
                content = orjson.loads(message)
                if content == {"hb": 1}:
                    self.heartbeats += 1
                    continue
                assert isinstance(content, dict)
                return content

    async def _message(self) -> bytes | None:
        """A whole message; None for what is none yet."""
        first, second = await self._reader.readexactly(2)
        assert not second & 0x80, "the server does not mask"
        assert not first & 0x70, "nothing is compressed"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", await self._reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", await self._reader.readexactly(8))[0]
        payload = await self._reader.readexactly(size)
        opcode, fin = first & 0x0F, bool(first & 0x80)
        if opcode == CLOSE:
            self.write(masked(CLOSE, payload[:2]))
            raise Closed(struct.unpack("!H", payload[:2])[0] if payload else 1005, payload[2:].decode())
        if opcode == PING:
            self.pings.append(payload)
            if self.answers_pings:
                self.write(masked(PONG, payload))
            return None
        if opcode == PONG:
            self.pongs.append(payload)
            return None
        assert opcode == (CONTINUATION if self._partial else TEXT)
        self._partial += payload
        if not fin:
            return None
        message, self._partial = self._partial, b""
        return message
