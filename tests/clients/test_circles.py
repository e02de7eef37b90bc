"""Whatever is asked leaves nothing to the garbage collector: memory is free as soon as there is an answer.

A full collection looks at all that a server holds, and nobody is served meanwhile (config/garbage.py).
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.builders.waiting import until
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

TIMES = 5
TOPIC = "m.room.topic"
# What is made for a request, a sync or a transaction. Other things may be of what earlier tests left.
OF_ONE_REQUEST = (
    "Request",
    "Body",
    "SyncRequest",
    "Hearing",
    "Store",
    "Transaction",
    "LockedRoom",
    "RoomRow",
    "_Outcome",
)
OF_ONE_REQUEST += ("frame", "traceback", "coroutine", "Future", "Task")


@pytest.fixture
def unfreed() -> Iterator[list[object]]:
    """What was freed only by the collector is kept here, when it collects."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.enable()
    gc.garbage.clear()


class Scene:
    """Alice's room, in which bob is; `sent`: the ids of messages there."""

    def __init__(self, served: Served, alice: MatrixClient, bob: MatrixClient, room: str, sent: list[str]) -> None:
        self.served, self.alice, self.bob, self.room, self.sent = served, alice, bob, room, sent

    def at(self, *path: str) -> str:
        return v3("rooms", self.room, *path)


async def talks(scene: Scene, number: int) -> None:
    await scene.alice.send(scene.room, f"hello {number}")
    await scene.alice.call("PUT", scene.at("typing", scene.alice.user_id), {"typing": True, "timeout": 1_000})
    await scene.bob.call("POST", scene.at("receipt", "m.read", scene.sent[-1]), {})


async def changes_the_room(scene: Scene, number: int) -> None:
    await scene.alice.call("PUT", scene.at("state", TOPIC), {"topic": f"topic {number}"})
    await scene.alice.call("PUT", scene.at("redact", scene.sent[number], f"r{number}"), {})
    await scene.bob.call("POST", scene.at("leave"), {})
    await scene.bob.join(scene.room)


async def is_refused(scene: Scene, number: int) -> None:
    """By the rules of the room, while it is written; by what was read; by the door."""
    bob = scene.bob
    assert (await bob.ask("PUT", scene.at("state", TOPIC), {"topic": "mine"})).status == 403
    assert (await bob.ask("PUT", scene.at("redact", scene.sent[number], f"n{number}"), {})).status == 403
    assert (await bob.ask("GET", scene.at("event", "$nothing"))).status == 404
    assert (await bob.ask("POST", v3("createRoom"), b"{")).status == 400
    assert (await bob.ask("GET", "/_matrix/client/v3/nothing")).status == 404
    stranger = await scene.served.stranger()
    assert (await stranger.ask("GET", v3("account", "whoami"))).status == 401


async def reads(scene: Scene, number: int) -> None:
    for path in (scene.at("messages"), scene.at("members"), scene.at("state"), scene.at("context", scene.sent[-1])):
        await scene.alice.call("GET", path, query={"dir": "b"} if path.endswith("messages") else {})
    await scene.alice.call("GET", v3("publicRooms"))
    term = {"search_term": "message"}
    await scene.alice.call("POST", v3("search"), {"search_categories": {"room_events": term}})


async def syncs(scene: Scene, number: int) -> None:
    """First, with nothing new, and as soon as something is said; and goes away while it waits."""
    since = (await scene.bob.sync())["next_batch"]
    since = (await scene.bob.sync(since))["next_batch"]
    sync = scene.served.house.services.sync
    waiting = asyncio.create_task(scene.bob.sync(since, timeout=60_000))
    await until(lambda: sync.waiting == 1, what="the sync waits")
    await scene.alice.send(scene.room, f"news {number}")
    since = (await waiting)["next_batch"]
    waiting = asyncio.create_task(scene.bob.sync(since, timeout=60_000))
    await until(lambda: sync.waiting == 1, what="the sync waits")
    waiting.cancel()
    await until(lambda: sync.waiting == 0, what="nobody waits")


async def comes_and_goes(scene: Scene, number: int) -> None:
    device = await scene.served.stranger()
    await device.login(scene.bob.user_id)
    room = await device.create_room(preset="private_chat")
    await device.call("PUT", v3("profile", device.user_id, "displayname"), {"displayname": f"Bob {number}"})
    await device.call("PUT", v3("user", device.user_id, "account_data", "org.example.one"), {"a": number})
    await device.call("POST", v3("rooms", room, "leave"), {})
    await device.call("POST", v3("logout"))


DEEDS = (talks, changes_the_room, is_refused, reads, syncs, comes_and_goes)


@pytest.mark.parametrize("does", DEEDS, ids=[deed.__name__ for deed in DEEDS])
async def test_nothing_waits_for_the_collector(
    served: Served, unfreed: list[object], does: Callable[[Scene, int], Awaitable[None]]
) -> None:
    """After the first time, which fills caches and learns; whatever is kept is not counted."""
    alice, bob = await served.user("alice"), await served.user("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    scene = Scene(served, alice, bob, room, [await alice.send(room, f"message {n}") for n in range(TIMES + 1)])
    await does(scene, 0)
    gc.collect()
    unfreed.clear()
    for number in range(1, TIMES + 1):
        await does(scene, number)
    # What was answered may have something to do still.
    await until(lambda: not served.house.database._under_way, what="the writes have ended")
    gc.collect()
    kinds = Counter(type(thing).__qualname__ for thing in unfreed)
    assert {kind: kinds[kind] for kind in OF_ONE_REQUEST if kinds[kind] >= TIMES} == {}
