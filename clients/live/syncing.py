"""One sync at a time: the newest one runs, and ends the one before.

A client that goes on as before waits without a task (`go_on`); any other sync, and what that gives back, is a task.

Whoever is ended is answered as if its time were up and nothing had happened: the token stays where it was. It counted
nothing as told, so nothing is lost.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from clients.live.habits import Ask
from homeserver.http.answers import Answer, json_answer
from homeserver.services.sync.hearing import Hearing

# Is told the JSON of an answer, or None if the sync must be asked the long way.
Tell = Callable[[bytes | None], None]


class Client(Protocol):
    """The socket."""

    def answer(self, id: str, answer: Answer) -> None: ...
    def tell(self, id: str, body: bytes) -> None:
        """A good answer."""
        ...

    def listen(self, since: str, tell: Tell) -> Hearing | None:
        """Waits as the syncs before did, for what comes after a token; `tell` is called, perhaps at once. None, or told
        None: it must be asked by `sync`."""
        ...

    async def sync(self, ask: Ask, left: float | None) -> Answer:
        """The answer, within so many seconds if they are given."""
        ...

    def ask(self, message: bytes, id: str, since: str) -> Ask:
        """What a frame asks for that is like the one before."""
        ...


class Syncing:
    __slots__ = ("_client", "_hearing", "_message", "_since", "_task", "id")

    def __init__(self, client: Client) -> None:
        self._client = client
        # Kept from one sync to the next, as long as all goes on without a task.
        self._hearing: Hearing | None = None
        self._task: asyncio.Task[None] | None = None
        self._since = ""
        self._message = b""
        self.id: str | None = None
        """Of the sync that runs."""

    def go_on(self, message: bytes, id: str, since: str) -> None:
        """A sync like the one before."""
        if self.id is None and self._task is None:
            self.id, self._since, self._message = id, since, message
            if self._hearing is not None:
                if self._hearing.go_on(since):
                    return
                self._hearing = None
            hearing = self._client.listen(since, self._heard)
            if hearing is not None:
                # Perhaps it has told already, and was followed by another.
                if self._hearing is None and self._task is None:
                    self._hearing = hearing
                return
            self.id = None
        self.start(self._client.ask(message, id, since))

    def start(self, ask: Ask) -> None:
        """The one before, if it runs still, is ended."""
        before = self._task
        self.end()
        self.id = ask.id
        since = ask.wanted.get("since") if isinstance(ask.wanted, dict) else None
        self._since = since if isinstance(since, str) else ""
        self._task = asyncio.create_task(self._work(ask, None, before))

    def end(self, answer: Answer | None = None) -> None:
        """Ends the one that runs: as a time-out does, or with `answer`."""
        id = self.id
        self.stop()
        if id is not None:
            self._client.answer(id, answer if answer is not None else json_answer({"next_batch": self._since}))

    def stop(self) -> None:
        """It gets no answer."""
        self.id = None
        if self._hearing is not None:
            self._hearing.end()
            self._hearing = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _heard(self, body: bytes | None) -> None:
        """The one that waits without a task has ended."""
        id = self.id
        if id is None:
            return
        if body is None:
            hearing, self._hearing = self._hearing, None
            left = None if hearing is None else hearing.left
            ask = self._client.ask(self._message, id, self._since)
            self._task = asyncio.create_task(self._work(ask, left, None))
        else:
            self.id = None
            self._client.tell(id, body)

    async def _work(self, ask: Ask, left: float | None, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # It may still hold what this one goes on with.
            await asyncio.wait((before,))
        answer = await self._client.sync(ask, left)
        self.id = self._task = None
        self._client.answer(ask.id, answer)
