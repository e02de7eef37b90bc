"""People on WebSockets, over a real house and a real socket.

Whatever a test does: no socket is left behind, and nobody met an error that nobody foresaw.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from homeserver.telemetry.metrics import UNFORESEEN_ERRORS
from tests.builders.house import TestHouse
from tests.builders.waiting import until
from tests.builders.websocket import WebSocketClient
from tests.clients.conftest import Served, serve
from tests.conformance.client import MatrixClient, v3


def unforeseen() -> float:
    return sum(float(UNFORESEEN_ERRORS.labels(where)._value.get()) for where in ("http", "websocket"))


class Person:
    """Somebody with an account, who syncs over WebSockets: `since` is where they stand."""

    def __init__(self, http: MatrixClient, sockets: AsyncExitStack) -> None:
        self.http = http
        self.since = ""
        self._sockets = sockets

    @property
    def user_id(self) -> str:
        return self.http.user_id

    async def connect(self, **how: Any) -> WebSocketClient:
        """A socket with this person's token, after its greeting."""
        socket = await self.open(self.http.token, **how)
        assert (await socket.told("hello"))["user_id"] == self.http.user_id
        return socket

    async def open(self, token: str | None = None, **how: Any) -> WebSocketClient:
        """A socket with any token or none, of which nothing is read yet."""
        return await self._sockets.enter_async_context(await WebSocketClient.open(self.http.base_url, token, **how))

    async def start(self) -> str:
        """The first sync, over HTTP: the token to go on from."""
        self.since = (await self.http.sync())["next_batch"]
        return self.since

    def sync(self, timeout: int = 60_000, **more: Any) -> dict[str, Any]:
        """What goes into a sync frame."""
        return {"since": self.since, "timeout": timeout, **more}


def send_request(room: str, txn: str, body: str = "Hey") -> dict[str, Any]:
    """What goes into a request frame that sends a message."""
    path = v3("rooms", room, "send", "m.room.message", txn)
    return {"method": "PUT", "path": path, "body": {"msgtype": "m.text", "body": body}}


def bodies(answer: dict[str, Any], room: str) -> list[str]:
    """What was said in a room, according to a sync."""
    events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


class Scene:
    """A server and who is on it."""

    def __init__(self, served: Served, sockets: AsyncExitStack) -> None:
        self.served = served
        self._sockets = sockets

    async def person(self, name: str) -> Person:
        return Person(await self.served.user(name), self._sockets)

    async def device(self, person: Person, **fields: Any) -> Person:
        """Another device of the same person, or another session of the same device."""
        http = await self.served.stranger()
        await http.login(person.user_id, **fields)
        return Person(http, self._sockets)

    async def pair(self) -> tuple[Person, Person, str]:
        """Alice and Bob in one room, both with a token to go on from."""
        alice, bob = await self.person("alice"), await self.person("bob")
        room = await alice.http.create_room(preset="public_chat")
        await bob.http.join(room)
        await alice.start()
        await bob.start()
        return alice, bob, room


@pytest.fixture
async def stage(house: TestHouse, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Callable[..., Any]]:
    """Opens scenes; the options are those of `serve`."""
    before = unforeseen()
    opened: list[Scene] = []
    async with AsyncExitStack() as stack:

        async def open_scene(**options: Any) -> Scene:
            served = await stack.enter_async_context(serve(house, **options))
            opened.append(Scene(served, await stack.enter_async_context(AsyncExitStack())))
            return opened[-1]

        yield open_scene
    await until(lambda: not any(len(scene.served.sockets) for scene in opened), what="no socket is left")
    assert unforeseen() == before
    assert not [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
