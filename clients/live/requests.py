"""The requests of one socket, strictly in the order in which they came.

One runs at a time. A client may have some unanswered; one more, or one that meets a rate limit, is refused with 429,
and then so is everything behind it, until the queue is empty and the client has seen the last refusal. A ping goes
before each refusal, and its pong tells: it comes behind whatever the client had sent until then. So all that was under
way when a request was refused is refused too, and a client that sends it again in order finds the order kept.

Not here: what a request is (`work`), and the frames around it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from homeserver.domain.errors import LimitExceeded
from homeserver.http.answers import Answer
from homeserver.http.errors import request_error
from homeserver.telemetry.metrics import LIMITED

TOO_MANY_REQUESTS = 429
_OVERFLOW = request_error(
    LimitExceeded("Too many requests wait for their answer on this WebSocket", 100, "websocket_requests")
)
_limited = LIMITED.labels("websocket_requests").inc


class Client(Protocol):
    """The socket that the requests came over."""

    def answer(self, id: str, answer: Answer) -> None: ...
    def ping(self) -> int:
        """Sends a ping, and returns its number."""
        ...


class Requests:
    __slots__ = ("_barrier", "_client", "_most", "_queue", "_refusing", "_run", "_task")

    def __init__(self, client: Client, run: Callable[[Any], Awaitable[Answer]], most: int) -> None:
        """`run` makes the answer to one request. At most `most` are unanswered."""
        self._client = client
        self._run = run
        self._most = most
        self._queue: list[tuple[str, Any]] = []
        self._task: asyncio.Task[None] | None = None
        self._refusing = False
        # The ping that went before the last refusal, until it is answered.
        self._barrier: int | None = None

    @property
    def is_idle(self) -> bool:
        return not self._queue

    def receive(self, id: str, asked: Any) -> None:
        if self._refusing and not self._queue and self._barrier is None:
            self._refusing = False
        if self._refusing or len(self._queue) >= self._most:
            _limited()
            self._refuse(id, _OVERFLOW)
            return
        self._queue.append((id, asked))
        if self._task is None:
            self._task = asyncio.create_task(self._work())

    def ponged(self, number: int) -> None:
        """The client has read everything that was sent before that ping."""
        if self._barrier is not None and number >= self._barrier:
            self._barrier = None

    def forget(self) -> None:
        """What waits is not begun any more, and gets no answer; what runs does."""
        del self._queue[1:]

    def stop(self) -> None:
        """Nothing is answered any more."""
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _work(self) -> None:
        while self._queue:
            id, asked = self._queue[0]
            answer = await self._run(asked)
            refused = self._queue if answer.status == TOO_MANY_REQUESTS else self._queue[:1]
            self._queue = self._queue[len(refused) :]
            if answer.status == TOO_MANY_REQUESTS:
                for one, _ in refused:
                    self._refuse(one, answer)
            else:
                self._client.answer(id, answer)
        self._task = None

    def _refuse(self, id: str, answer: Answer) -> None:
        self._refusing = True
        self._barrier = self._client.ping()
        self._client.answer(id, answer)
