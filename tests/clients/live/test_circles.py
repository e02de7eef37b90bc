"""A socket that has ended is freed at once: the garbage collector has nothing to do with it.

Thousands of them come and go, and a collection looks at all that there is.
"""

import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from clients.live.bridge import Bridge
from clients.live.framing import Framing
from clients.live.requests import Requests
from clients.live.socket import Socket
from clients.live.syncing import Syncing
from homeserver.services.sync.hearing import Hearing
from tests.builders.waiting import until
from tests.builders.websocket import WebSocketClient
from tests.clients.live.conftest import Person, Scene, send_request
from tests.clients.live.test_syncing import waits
from tests.conformance.client import v3

Stage = Callable[..., Any]
PARTS = (Socket, Bridge, Framing, Syncing, Requests, Hearing)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collection: what is in a circle stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> dict[str, int]:
    """How many parts of sockets there are, by kind."""
    kinds = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, PARTS)]
    return {kind: kinds.count(kind) for kind in kinds}


async def leaves(socket: WebSocketClient, person: Person) -> None:
    await socket.goodbye()
    assert (await socket.closed()).code == 1000


async def breaks_off(socket: WebSocketClient, person: Person) -> None:
    socket.cut()


async def logs_out(socket: WebSocketClient, person: Person) -> None:
    await person.http.call("POST", v3("logout"))
    assert (await socket.closed()).code == 4401


async def says_nonsense(socket: WebSocketClient, person: Person) -> None:
    await socket.say({"x": 1})
    assert (await socket.closed()).code == 4400


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("ends", [leaves, breaks_off, logs_out, says_nonsense])
async def test_nothing_of_an_ended_socket_is_left(
    stage: Stage, ends: Callable[[WebSocketClient, Person], Awaitable[None]]
) -> None:
    """However it ended, whatever it was used for before, and while a sync waits on it."""
    scene: Scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    for number in range(4):
        await bob.http.send(room, f"hey {number}")
        await socket.say({"id": f"s{number}", "sync": alice.sync()})
        alice.since = (await socket.answer(f"s{number}")).body["next_batch"]
    await socket.say({"id": "r", "request": send_request(room, "t")})
    assert (await socket.answer("r")).status == 200
    alice.since = (await alice.http.sync(alice.since))["next_batch"]
    await socket.say({"id": "last", "sync": alice.sync()})
    await waits(scene)
    assert left()["Socket"] == 1
    await ends(socket, alice)
    await until(lambda: not left(), what="all is freed")
