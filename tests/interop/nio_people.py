"""People with matrix-nio: their clients, and what they do in many stories. The fixtures `alice` and `bob` are two."""

import importlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from tests.builders.process import ServerProcess
from tests.builders.waiting import until

nio: Any = importlib.import_module("nio")  # it has no types

PASSWORD = "correct horse"
NUMBERS = itertools.count(1)
# A client that comes back asks at once, and never gives up.
CONFIG = nio.AsyncClientConfig(backoff_factor=0.05, max_timeout_retry_wait_time=0.2, request_timeout=30)
EVERYTHING = {"room": {"timeline": {"limit": 200}}}


@asynccontextmanager
async def user(server: ServerProcess, name: str) -> AsyncIterator[Any]:
    """A client of nio; `register` or `login` it. The name gets a number, since tests share their server."""
    client = nio.AsyncClient(server.url, f"{name}{next(NUMBERS)}", config=CONFIG)
    try:
        yield client
    finally:
        await client.close()


def ok(response: Any, kind: str) -> Any:
    """`response`, which is of that class of nio and so no error."""
    assert type(response).__name__ == kind, response
    return response


async def synced(client: Any, timeout: int = 0) -> Any:
    """One sync from where the client stands, with every message."""
    return ok(await client.sync(timeout, EVERYTHING), "SyncResponse")


async def meet(alice: Any, bob: Any, version: str | None = None) -> str:
    """A room of Alice with Bob in it; both have synced. Returns its id."""
    wanted = {"name": "Tea", "topic": "Earl Grey", "invite": [bob.user_id], "room_version": version}
    created = ok(await alice.room_create(**wanted), "RoomCreateResponse")
    room: str = created.room_id
    await until(lambda: is_invited(bob, room), what="Bob sees the invitation")
    assert bob.invited_rooms[room].inviter == alice.user_id
    ok(await bob.join(room), "JoinResponse")
    for client in (alice, bob):
        await until(partial(knows, client, room, alice, bob), what="each sees both in the room")
    return room


async def is_invited(client: Any, room: str) -> bool:
    await synced(client)
    return room in client.invited_rooms


async def knows(client: Any, room: str, *members: Any) -> bool:
    await synced(client)
    return room in client.rooms and set(client.rooms[room].users) == {member.user_id for member in members}


async def say(client: Any, room: str, text: str) -> str:
    """Returns the event id."""
    content = {"msgtype": "m.text", "body": text}
    event_id: str = ok(await client.room_send(room, "m.room.message", content), "RoomSendResponse").event_id
    return event_id


def texts(response: Any, room: str) -> list[str]:
    """What was said in a room, by one sync."""
    info = response.rooms.join.get(room)
    return [] if info is None else [event.body for event in info.timeline.events if hasattr(event, "body")]


async def noted(into: list[Any], *what: Any) -> None:
    into.extend(what)


async def follow(client: Any, condition: Callable[[], bool]) -> None:
    """Syncs until it has seen what makes `condition` true."""

    async def once() -> bool:
        await synced(client, 1_000)
        return condition()

    await until(once)
