"""Syncs that wait without a task: told once, from memory, or given back untouched.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.sync.hearing import Hearing
from tests.builders.cluster import Cluster
from tests.builders.waiting import until
from tests.services.sync.client_model import Client, read_answer
from tests.services.sync.world import World, open_world

ALICE, BOB, CAROL = "@alice:test.example", "@bob:test.example", "@carol:test.example"


class Listener:
    """Bob's device: what it was told, and the room it hears of."""

    def __init__(self, world: World, room: str) -> None:
        self.world = world
        self.room = room
        self.client = Client(BOB, "D0", {})
        self.told: list[bytes | None] = []
        self._sent = 0

    async def synced(self) -> "Listener":
        """It is live, and its unread counts are known."""
        for _ in range(2):
            await self.ask()
            await self.say("before")
        await self.ask()
        return self

    async def ask(self) -> None:
        """A sync by a call."""
        self.client.hear(read_answer(await self.world.house.sync(self.client.request())))

    def listen(self, timeout: float = 60.0) -> Hearing | None:
        request = self.client.request(timeout)
        return self.world.house.sync.listen(request, str(request.since), self.tell)

    def tell(self, answer: bytes | None, seconds: float) -> None:
        assert seconds >= 0
        self.told.append(answer)

    async def say(self, body: str, sender: str = ALICE) -> None:
        self._sent += 1
        content = {"body": body, "msgtype": "m.text"}
        send = self.world.house.send
        await send.message(sender, "D1", self.room, "m.room.message", f"h{self._sent}", content)

    async def hears(self) -> list[str]:
        """What was said in the next answer."""
        await until(lambda: bool(self.told), what="an answer")
        told = self.told.pop(0)
        assert told is not None
        answer = read_answer(told)
        self.client.hear(answer)
        events = answer.get("rooms", {}).get("join", {}).get(self.room, {}).get("timeline", {}).get("events", [])
        return [event["content"]["body"] for event in events if "body" in event["content"]]


@pytest.fixture
async def bob(cluster: Cluster) -> AsyncIterator[Listener]:
    async with open_world(cluster) as world:
        room = await world.house.create(ALICE, RoomRequest(DEFAULT_ROOM_VERSION, "public_chat"))
        await world.house.membership.join(BOB, room)
        yield await Listener(world, room).synced()


async def test_told_as_soon_as_something_is_said(bob: Listener) -> None:
    """One answer for each sync, and each message once."""
    for body in ("one", "two", "three"):
        assert bob.listen() is not None
        assert bob.told == []
        await bob.say(body)
        assert await bob.hears() == [body]
        assert bob.told == []
    assert bob.client.joined[bob.room].counts[0] == 5


async def test_told_at_once_of_what_was_said_before(bob: Listener) -> None:
    """Several messages come together."""
    assert bob.listen() is not None
    await bob.say("one")
    assert await bob.hears() == ["one"]
    await bob.say("two")
    await bob.say("three")
    bob.listen()
    assert await bob.hears() == ["two", "three"]


async def test_time_is_up(bob: Listener) -> None:
    """An empty answer, from whose token it goes on."""
    for timeout in (0.05, 0.01, 0.0):
        assert bob.listen(timeout) is not None
        assert await bob.hears() == []
    bob.listen()
    await bob.say("late")
    assert await bob.hears() == ["late"]


async def test_a_sync_that_is_ended_has_told_nothing(bob: Listener) -> None:
    """What comes meanwhile is for the next one."""
    hearing = bob.listen()
    assert hearing is not None
    hearing.end()
    await bob.say("unheard")
    assert bob.told == []
    bob.listen()
    assert await bob.hears() == ["unheard"]


async def test_a_lost_answer_is_for_the_tables_or_a_call(bob: Listener) -> None:
    """Whoever comes back with an older token gets the same again, and what came since."""
    bob.listen()
    before = bob.client.request()
    await bob.say("lost")
    await until(lambda: bool(bob.told), what="an answer")
    bob.told.clear()
    await bob.say("more")
    assert bob.world.house.sync.listen(before, str(before.since), bob.tell) is None
    answer = read_answer(await bob.world.house.sync(before))
    bob.client.hear(answer)
    timeline = answer["rooms"]["join"][bob.room]["timeline"]
    assert [event["content"]["body"] for event in timeline["events"]] == ["lost", "more"]


async def test_what_memory_cannot_tell_is_given_back(bob: Listener) -> None:
    """A sync that hears of its own user's membership is asked by a call, which finds everything."""
    assert bob.listen() is not None
    await bob.say("one")
    assert await bob.hears() == ["one"]
    bob.listen()
    other = await bob.world.house.create(BOB, RoomRequest(DEFAULT_ROOM_VERSION, "private_chat"))
    await until(lambda: bob.told == [None], what="it is given back")
    answer = read_answer(await bob.world.house.sync(bob.client.request()))
    assert other in answer["rooms"]["join"]


async def test_one_at_a_time(bob: Listener) -> None:
    """While one waits, another of the same device is asked by a call; other tokens are too."""
    assert bob.listen() is not None
    assert bob.listen() is None
    await bob.say("one")
    assert await bob.hears() == ["one"]
    request = bob.client.request()
    assert request.since is not None
    for token in ("", "x", "0.0.0", str(replace(request.since, position=request.since.position + 1))):
        assert bob.world.house.sync.listen(request, token, bob.tell) is None


@pytest.mark.parametrize("ends", ["stop", "drop_views"])
async def test_nobody_waits_for_ever(bob: Listener, ends: str) -> None:
    """When the server stops, or a View is dropped, whoever waits is answered empty."""
    assert bob.listen() is not None
    getattr(bob.world.house.sync, ends)()
    assert await bob.hears() == []
    assert bob.world.house.sync.waiting == 0
