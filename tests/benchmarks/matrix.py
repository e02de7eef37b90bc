"""The client-server API as the scenarios use it: people who register, make rooms, talk and sync.

Thin on purpose: each method is one request, and an answer that is not a success raises Refused.
https://spec.matrix.org/v1.19/client-server-api/
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import orjson

from tests.benchmarks.driver import Answer, Client

Json = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")
CLIENT_API = "/_matrix/client/v3"


class Refused(Exception):
    """A request that should have succeeded did not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer, decoded."""

    content: Json
    milliseconds: float
    arrived: float
    size: int


def _accept(method: str, path: str, answer: Answer) -> Reply:
    if answer.status != 200:
        raise Refused(f"{method} {path} was answered {answer.status} {answer.body[:200].decode(errors='replace')}")
    return Reply(orjson.loads(answer.body), answer.milliseconds, answer.arrived, len(answer.body))


@dataclass
class Session:
    """One person on one device."""

    client: Client
    user_id: str
    token: str
    password: str
    _transactions: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _prefix: str = field(default_factory=lambda: secrets.token_hex(4), repr=False)

    async def get(self, path: str) -> Reply:
        return _accept("GET", path, await self.client.request("GET", CLIENT_API + path, self.token))

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        return _accept("POST", path, await self.client.request("POST", CLIENT_API + path, self.token, body))

    async def create_room(self, **options: Any) -> tuple[str, Reply]:
        """A new room: its id and the answer."""
        reply = await self.post("/createRoom", options)
        return reply.content["room_id"], reply

    async def join(self, room: str) -> Reply:
        return await self.post(f"/rooms/{quote(room)}/join", {})

    async def send(self, room: str, body: str) -> tuple[str, Reply]:
        """A text message: its event id and the answer."""
        path = f"/rooms/{quote(room)}/send/m.room.message/{self._prefix}{next(self._transactions)}"
        content = {"msgtype": "m.text", "body": body}
        reply = _accept("PUT", path, await self.client.request("PUT", CLIENT_API + path, self.token, content))
        return reply.content["event_id"], reply

    async def sync(self, since: str | None = None, wait: int = 0, sync_filter: Json | None = None) -> Reply:
        """One sync, which waits at most so many milliseconds for something new."""
        query = {"timeout": str(wait)}
        if since is not None:
            query["since"] = since
        if sync_filter is not None:
            query["filter"] = orjson.dumps(sync_filter).decode()
        return await self.get(f"/sync?{urlencode(query)}")

    async def catch_up(self) -> str:
        """Where the user stands after everything until now: a server may answer a first sync as it did before."""
        first = (await self.sync()).content["next_batch"]
        return str((await self.sync(first)).content["next_batch"])

    async def page_back(self, room: str, start: str | None = None) -> Reply:
        """A hundred events of the room's history, the newest first."""
        query = {"dir": "b", "limit": "100"}
        if start is not None:
            query["from"] = start
        return await self.get(f"/rooms/{quote(room)}/messages?{urlencode(query)}")


async def register(client: Client, localpart: str | None = None) -> tuple[Session, Reply]:
    """A new person with a password, in one request."""
    name = localpart or f"u{secrets.token_hex(6)}"
    password = f"Bench-{name}-4711"
    body = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}}
    reply = _accept("POST", "/register", await client.request("POST", f"{CLIENT_API}/register", None, body))
    return Session(client, reply.content["user_id"], reply.content["access_token"], password), reply


async def login(person: Session) -> tuple[Session, Reply]:
    """The same person on a new device."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": person.user_id},
        "password": person.password,
    }
    answer = await person.client.request("POST", f"{CLIENT_API}/login", None, body)
    reply = _accept("POST", "/login", answer)
    return Session(person.client, reply.content["user_id"], reply.content["access_token"], person.password), reply


async def register_many(client: Client, count: int, together: int = 8) -> list[Session]:
    """New people, some at a time."""

    async def one(_: int) -> Session:
        return (await register(client))[0]

    return await at_most(together, one, range(count))


async def at_most(together: int, work: Callable[[Item], Awaitable[Result]], items: Iterable[Item]) -> list[Result]:
    """The results of `work` over the items, in their order, with so many under way at a time."""
    waiting = iter(list(enumerate(items)))
    results: dict[int, Result] = {}

    async def worker() -> None:
        for place, item in waiting:
            results[place] = await work(item)

    workers = [asyncio.create_task(worker()) for _ in range(together)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[place] for place in sorted(results)]
