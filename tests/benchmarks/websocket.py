"""A lean WebSocket client over asyncio, made to cost the driver little: text both ways, pings answered, no TLS.

It masks with zeros, which servers undo as they undo any mask.
https://www.rfc-editor.org/rfc/rfc6455
"""

import asyncio
import struct
from collections.abc import Callable
from typing import cast

from tests.benchmarks.driver import ConnectionLost, clock

PATH = "/_matrix/client/unstable/io.parley.websocket"
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame of a client."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + b"\0\0\0\0" + payload
    if size < 65536:
        return bytes((0x80 | opcode, 0xFE)) + struct.pack("!H", size) + b"\0\0\0\0" + payload
    return bytes((0x80 | opcode, 0xFF)) + struct.pack("!Q", size) + b"\0\0\0\0" + payload


class Socket(asyncio.Protocol):
    """`heard` is called with each message and when it arrived; `lost` once, at the end."""

    def __init__(self, token: str, heard: Callable[[bytes, float], None], lost: Callable[[], None]) -> None:
        self._token = token
        self._heard = heard
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._message = bytearray()
        self._is_open = False

    async def connect(self, port: int) -> None:
        """Raises OSError where nobody listens. `heard` may be called before this returns."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def say(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame(TEXT, message))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: io.parley.v1\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        arrived = clock()
        self._buffer += data
        if not self._is_open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                self.abort()
                raise ConnectionLost(bytes(self._buffer[:200]).decode(errors="replace"))
            del self._buffer[: end + 4]
            self._is_open = True
        while self._take(arrived):
            pass

    def _take(self, arrived: float) -> bool:
        """One frame, if it is all there."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1] & 0x7F, 2
        if size == 126:
            start = 4
            size = int.from_bytes(buffer[2:4])
        elif size == 127:
            start = 10
            size = int.from_bytes(buffer[2:10])
        if len(buffer) < start + size:
            return False
        opcode, is_last, payload = buffer[0] & 0x0F, buffer[0] & 0x80, bytes(buffer[start : start + size])
        del buffer[: start + size]
        if opcode == PING and self._transport is not None:
            self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE and self._transport is not None:
            self._transport.write(frame(CLOSE, payload[:2]))
            self._transport.close()
        elif opcode in (0, TEXT):
            self._message += payload
            if is_last:
                message = bytes(self._message)
                self._message.clear()
                self._heard(message, arrived)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost()
