"""A TCP relay between a port and a server behind it, which a test can cut and heal: what a netsplit is made of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """While it is cut, connections are closed and new ones end at once."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Nobody reaches the server any more; what is under way breaks."""
        self._is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def heal(self) -> None:
        self._is_cut = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()  # the server is down
            return
        both = {writer, behind_writer}
        self._open |= both
        try:
            await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))
        finally:
            self._open -= both
            for one in both:
                one.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@asynccontextmanager
async def running_relay(port: int, target_port: int) -> AsyncIterator[Relay]:
    """On 127.0.0.1:`port`, to 127.0.0.1:`target_port`."""
    relay = Relay(target_port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", port)
    try:
        yield relay
    finally:
        relay.cut()
        server.close()
