"""One sync at a time: the newest one runs, and ends the one before.

A client that goes on as before waits without a task (`listen`); any other sync, and what that gives back, is a task.

Whoever is ended is answered as if its time were up and nothing had happened: the token stays where it was. It counted
nothing as told, so nothing is lost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from clients.live.requests import Client
from homeserver.http.answers import Answer, json_answer
from homeserver.services.sync.hearing import Hearing


class Syncing:
    __slots__ = ("_client", "_hearing", "_listen", "_run", "_since", "_task", "_wanted", "id")

    def __init__(
        self,
        client: Client,
        listen: Callable[[Any, Callable[[Answer | None], None]], Hearing | None],
        run: Callable[[Any, float | None], Awaitable[Answer]],
    ) -> None:
        """`run` makes the answer to one sync, within so many seconds if they are given. `listen` does it without a
        task, or returns or tells None."""
        self._client = client
        self._listen = listen
        self._run = run
        self._hearing: Hearing | None = None
        self._wanted: Any = None
        self._task: asyncio.Task[None] | None = None
        self._since = ""
        self.id: str | None = None
        """Of the sync that runs."""

    def start(self, id: str, wanted: Any) -> None:
        """The one before, if it runs still, is ended."""
        before = self._task
        self.end()
        self.id = id
        since = wanted.get("since") if isinstance(wanted, dict) else None
        self._since = since if isinstance(since, str) else ""
        self._wanted = wanted
        if before is None:
            hearing = self._listen(wanted, self._heard)
            if hearing is not None:
                if self.id == id and self._task is None:
                    self._hearing = hearing
                return
        self._task = asyncio.create_task(self._work(id, wanted, None, before))

    def end(self, answer: Answer | None = None) -> None:
        """Ends the one that runs: as a time-out does, or with `answer`."""
        id = self.id
        if id is not None:
            self.stop()
            self._client.answer(id, answer if answer is not None else json_answer({"next_batch": self._since}))

    def stop(self) -> None:
        """It gets no answer."""
        self.id = self._wanted = None
        if self._hearing is not None:
            self._hearing.end()
            self._hearing = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _heard(self, answer: Answer | None) -> None:
        """The one that waits without a task has ended."""
        hearing, self._hearing = self._hearing, None
        id = self.id
        if id is None:
            return
        if answer is None:
            left = None if hearing is None else hearing.left
            self._task = asyncio.create_task(self._work(id, self._wanted, left, None))
        else:
            self.id = self._wanted = None
            self._client.answer(id, answer)

    async def _work(self, id: str, wanted: Any, left: float | None, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # It may still hold what this one goes on with.
            await asyncio.wait((before,))
        answer = await self._run(wanted, left)
        self.id = self._task = self._wanted = None
        self._client.answer(id, answer)
