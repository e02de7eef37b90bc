"""One sync at a time: the newest one runs, and ends the one before.

Whoever is ended is answered as if its time were up and nothing had happened: the token stays where it was. It counted
nothing as told, so nothing is lost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from clients.live.requests import Client
from homeserver.http.answers import Answer, json_answer


class Syncing:
    __slots__ = ("_client", "_run", "_since", "_task", "id")

    def __init__(self, client: Client, run: Callable[[Any], Awaitable[Answer]]) -> None:
        """`run` makes the answer to one sync."""
        self._client = client
        self._run = run
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
        self._task = asyncio.create_task(self._work(id, wanted, before))

    def end(self, answer: Answer | None = None) -> None:
        """Ends the one that runs: as a time-out does, or with `answer`."""
        id = self.id
        if id is not None:
            self.stop()
            self._client.answer(id, answer if answer is not None else json_answer({"next_batch": self._since}))

    def stop(self) -> None:
        """It gets no answer."""
        self.id = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _work(self, id: str, wanted: Any, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # It may still hold what this one goes on with.
            await asyncio.wait((before,))
        answer = await self._run(wanted)
        self.id = self._task = None
        self._client.answer(id, answer)
