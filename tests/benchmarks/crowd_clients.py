"""The clients of a crowd: each waits for the next sync, asks again as soon as it has one, and comes back after a break.

They share what was said and what was heard of it. Made to cost the driver little: callbacks, and no task while all is
well. Not here: who talks, and what is measured (`crowd`).
"""

import asyncio
import random
from typing import Protocol, cast

import orjson

from tests.benchmarks.driver import ConnectionLost, clock
from tests.benchmarks.matrix import Session
from tests.benchmarks.websocket import Socket

POLL_MILLISECONDS = 30_000
# When a client of long-poll comes back after its connection broke; a WebSocket is told by the server.
COMEBACK_SECONDS = (1.0, 10.0)
MARK = b'"body":"crowd '
_NEXT_BATCH = b'"next_batch":"'
_LENGTH = b"\r\nContent-Length: "


class Crowd:
    """What all clients share: when each message was due, how often and how late it was heard, and who is live.

    A client is live again once it has heard a message that was due after it had come back.
    """

    def __init__(self) -> None:
        self.due: dict[bytes, float] = {}
        self.heard: dict[bytes, int] = {}
        self.latencies: list[float] = []
        self.is_over = False
        self.asking = 0
        """Clients that are connected and wait for a sync."""
        self._live: set[Follower] = set()

    @property
    def live(self) -> int:
        return len(self._live)

    def nobody_is_live(self) -> None:
        self._live.clear()

    def note(self, client: "Follower", answer: bytes, arrived: float) -> None:
        """Counts the messages in an answer."""
        place = answer.find(MARK)
        while place >= 0:
            start = place + len(MARK)
            mark = answer[start : answer.index(b'"', start)]
            due = self.due.get(mark)
            if due is not None:
                self.latencies.append((arrived - due) * 1000)
                self.heard[mark] = self.heard.get(mark, 0) + 1
                if due > client.since_when:
                    self._live.add(client)
            place = answer.find(MARK, start)


class Follower(Protocol):
    """A client as the crowd knows it."""

    since_when: float
    """When it came back last."""

    def come(self) -> None:
        """Connects, and stays."""
        ...

    def leave(self) -> None: ...


def next_batch(answer: bytes) -> str:
    start = answer.index(_NEXT_BATCH) + len(_NEXT_BATCH)
    return answer[start : answer.index(b'"', start)].decode()


class _Client:
    """What both kinds have in common: they come, and come back."""

    def __init__(self, crowd: Crowd, person: Session, since: str, port: int) -> None:
        self.since_when = 0.0
        self._crowd = crowd
        self._token = person.token
        self._since = since
        self._port = port
        self._coming: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._asks = False

    def come(self) -> None:
        if not self._crowd.is_over:
            self._coming = asyncio.get_running_loop().create_task(self._come())

    def leave(self) -> None:
        for waiting in (self._coming, self._later):
            if waiting is not None:
                waiting.cancel()
        self._cut()

    async def _come(self) -> None:
        try:
            await self._connect()
        except OSError:
            self._come_again(random.uniform(*COMEBACK_SECONDS))
        finally:
            self._coming = None

    def _come_again(self, seconds: float) -> None:
        if not self._crowd.is_over:
            self._later = asyncio.get_running_loop().call_later(seconds, self.come)

    def _asked(self, asks: bool) -> None:
        self._crowd.asking += asks - self._asks
        self._asks = asks

    async def _connect(self) -> None:
        """Raises OSError."""
        raise NotImplementedError

    def _cut(self) -> None:
        raise NotImplementedError


class LongPoll(_Client, asyncio.Protocol):
    """A client that waits over HTTP."""

    def __init__(self, crowd: Crowd, person: Session, since: str, port: int) -> None:
        super().__init__(crowd, person, since, port)
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    async def _connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self.since_when = clock()
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._transport.write(
            f"GET /_matrix/client/v3/sync?timeout={POLL_MILLISECONDS}&since={self._since} HTTP/1.1\r\n"
            f"Host: localhost\r\nAccept: */*\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode()
        )
        self._asked(True)

    def data_received(self, data: bytes) -> None:
        arrived = clock()
        answer = self._buffer = self._buffer + data
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            return
        place = answer.index(_LENGTH, 0, end + 2) + len(_LENGTH)
        if len(answer) < end + 4 + int(answer[place : answer.index(b"\r", place)]):
            return
        self._buffer = b""
        if not answer.startswith(b"HTTP/1.1 200"):
            self._cut()
            raise ConnectionLost(answer[:300].decode(errors="replace"))
        self._since = next_batch(answer)
        self._crowd.note(self, answer, arrived)
        if answer.find(b"\r\nConnection: close", 0, end) < 0:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._asked(False)
        self._come_again(random.uniform(*COMEBACK_SECONDS))


class OnSocket(_Client):
    """A client that waits on a WebSocket."""

    def __init__(self, crowd: Crowd, person: Session, since: str, port: int) -> None:
        super().__init__(crowd, person, since, port)
        self._retry = COMEBACK_SECONDS[0]
        self._socket: Socket | None = None

    async def _connect(self) -> None:
        self._socket = Socket(self._token, self._heard, self._lost)
        await self._socket.connect(self._port)

    def _cut(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    def _heard(self, message: bytes, arrived: float) -> None:
        if message.startswith(b'{"id":"s","status":200'):
            self._since = next_batch(message)
            self._crowd.note(self, message, arrived)
        elif message.startswith(b'{"bye"'):
            self._retry = orjson.loads(message)["bye"]["retry_ms"] / 1000
            return
        elif message.startswith(b'{"hello"'):
            self.since_when = arrived
        elif message.startswith(b'{"id"'):
            self._cut()
            raise ConnectionLost(message[:300].decode(errors="replace"))
        else:
            return
        if self._socket is not None:
            self._socket.say(orjson.dumps({"id": "s", "sync": {"since": self._since, "timeout": POLL_MILLISECONDS}}))
            self._asked(True)

    def _lost(self) -> None:
        self._socket = None
        self._asked(False)
        self._come_again(self._retry)
