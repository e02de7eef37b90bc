"""Servers that are told things: what each was sent, and what it answers, without sockets.

Every transaction is looked at as it comes: it is canonical, within its bounds, and the only one of its server.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import orjson

from config.compose.sending import Sending, build_sending
from config.compose.storage import Streams
from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import RemoteRefused, RemoteUnreachable
from homeserver.services.persistence import Persistence
from tests.builders.machine import HandClock, SeededRandomness
from tests.builders.waiting import until

Body = dict[str, Any]


class Peers:
    """Implements `Calls`, `Backoff`, `Outages` and `Partners`. `answers`: what a server makes of a body, if not {}."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[Body]] = defaultdict(list)
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.attempts: dict[str, int] = defaultdict(int)
        self.answers: dict[str, Callable[[Body], Any]] = {}
        self.away: set[str] = set()
        self.left_alone: dict[str, int] = {}
        self.denied: set[str] = set()
        # Servers that do not answer before this is set.
        self.held: dict[str, asyncio.Event] = {}
        self._under_way: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []

    # --- what the server sees -------------------------------------------------------------------------------------

    def pdus(self, server: str) -> list[Body]:
        """All that it took, in order."""
        return [pdu for body in self.bodies[server] for pdu in body["pdus"]]

    def texts(self, server: str) -> list[str]:
        """Bodies of messages among these."""
        return [pdu["content"]["body"] for pdu in self.pdus(server) if pdu["type"] == "m.room.message"]

    def edus(self, server: str, type: str) -> list[Body]:
        """The contents of those of a type, in order."""
        return [
            edu["content"] for body in self.bodies[server] for edu in body.get("edus", ()) if edu["edu_type"] == type
        ]

    def up(self, server: str) -> None:
        """It answers again, and shows it."""
        self.away.discard(server)
        self.left_alone.pop(server, None)
        for listener in self._listeners:
            listener(server)

    # --- what the outbox asks -------------------------------------------------------------------------------------

    async def put(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any] | bytes,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = 8 << 20,
    ) -> Any:
        assert isinstance(body, bytes) and path.startswith("/_matrix/federation/v1/send/")
        value: Body = orjson.loads(body)
        assert canonical_json(value) == body
        assert len(value["pdus"]) <= 50 and len(value.get("edus", ())) <= 100 and (value["pdus"] or value["edus"])
        assert destination not in self._under_way, "one transaction at a time"
        self._under_way.add(destination)
        try:
            self.attempts[destination] += 1
            self.ids[destination].append(unquote(path.rpartition("/")[2]))
            await asyncio.sleep(0)
            if destination in self.held:
                await self.held[destination].wait()
            if destination in self.away:
                raise RemoteUnreachable(f"{destination} is away")
            make = self.answers.get(destination)
            answer = {} if make is None else make(value)
            if isinstance(answer, Exception):
                raise answer
            self.bodies[destination].append(value)
            return answer
        finally:
            self._under_way.discard(destination)

    async def wait_ms(self, server_name: str) -> int:
        return self.left_alone.get(server_name, 0)

    def listen(self, on_up: Callable[[str], None]) -> None:
        self._listeners.append(on_up)

    def allows(self, server_name: str) -> bool:
        return server_name not in self.denied


def refuses(*event_ids: str, status: int = 400) -> Callable[[Body], Any]:
    """An answer that refuses whatever holds one of these messages."""

    def answer(body: Body) -> Any:
        if any(pdu["content"].get("body") in event_ids for pdu in body["pdus"]):
            return RemoteRefused(status, "M_BAD_JSON", "something in it is not JSON")
        return {}

    return answer


@asynccontextmanager
async def sending(
    database: Persistence,
    streams: Streams,
    peers: Peers,
    server_name: str,
    *,
    crash: bool = False,
    first_pause: float = 0.05,
) -> AsyncIterator[Sending]:
    """Sends to `peers` meanwhile. `crash`: it ends without writing anything down."""
    built = build_sending(
        server_name, database, streams, peers, peers, peers, HandClock(), SeededRandomness(), first_pause
    )
    tasks = [asyncio.create_task(one.run()) for one in (built.follower, built.outbox)]
    await until(lambda: built.outbox.has_begun)
    try:
        yield built
    finally:
        for stop, task in zip((built.follower.stop, built.outbox.stop), tasks, strict=True):
            if crash:
                task.cancel()
            else:
                stop()
            await asyncio.wait([task])
