"""Attack 3: an event that another server cannot take must not keep from it what comes after."""

import asyncio
from typing import Any

import pytest

from config.compose.storage import Streams
from homeserver.domain.errors import RemoteRefused
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import SERVER_NAME
from tests.builders.waiting import until
from tests.federation.outbound.peers import Body, Peers, refuses, sending
from tests.services.rooms.scene import ALICE, BOB, EVE, OTHER_SERVER, Scene


def set_aside() -> float:
    return REGISTRY.get_sample_value("parley_pdus_sent_total", {"outcome": "set_aside"}) or 0.0


@pytest.mark.parametrize("poison", [{"7"}, {"0"}, {"59"}, {"7", "8", "40"}], ids=["one", "first", "last", "three"])
@pytest.mark.parametrize("status", [400, 413])
async def test_attack_03_a_refused_event_is_set_aside(
    scene: Scene, streams: Streams, peers: Peers, poison: set[str], status: int
) -> None:
    """The server answers 400 to every transaction with the event in it: it gets all others, once and in order, and the
    event is counted once."""
    peers.answers[OTHER_SERVER] = refuses(*poison, status=status)
    peers.held[OTHER_SERVER] = asyncio.Event()
    before = set_aside()
    async with sending(scene.database, streams, peers, SERVER_NAME):
        room_id = await scene.room()
        await scene.remote_join(room_id, EVE)
        for number in range(60):
            await scene.say(ALICE, room_id, str(number))
        peers.held.pop(OTHER_SERVER).set()
        await scene.say(ALICE, room_id, "later")
        await until(lambda: "later" in peers.texts(OTHER_SERVER))
    wanted = [str(number) for number in range(60) if str(number) not in poison]
    assert peers.texts(OTHER_SERVER) == [*wanted, "later"]
    assert set_aside() == before + len(poison)
    assert peers.attempts[OTHER_SERVER] < 50


async def test_attack_03_an_event_over_which_a_server_fails_is_set_aside_at_last(
    scene: Scene, streams: Streams, peers: Peers
) -> None:
    """A server that answers 500 may only be broken, so it is tried for longer; then the next event has its turn."""
    peers.answers[OTHER_SERVER] = refuses("poison", status=500)
    async with sending(scene.database, streams, peers, SERVER_NAME, first_pause=0.001):
        room_id = await scene.room()
        await scene.remote_join(room_id, EVE)
        for text in ("before", "poison", "after"):
            await scene.say(ALICE, room_id, text)
        await until(lambda: "after" in peers.texts(OTHER_SERVER))
    assert peers.texts(OTHER_SERVER) == ["before", "after"]


async def test_attack_03_refused_ephemeral_units_hold_up_no_event(scene: Scene, streams: Streams, peers: Peers) -> None:
    """What our users type and read goes apart from the events, and is dropped if it is refused alone too."""

    def answer(body: Body) -> Any:
        return RemoteRefused(400, "M_BAD_JSON", "no such EDU") if body.get("edus") else {}

    peers.answers[OTHER_SERVER] = answer
    async with sending(scene.database, streams, peers, SERVER_NAME):
        room_id = await scene.room(members=[BOB])
        await scene.remote_join(room_id, EVE)
        peers.held[OTHER_SERVER] = asyncio.Event()
        event_id = await scene.say(ALICE, room_id, "0")
        await until(lambda: peers.attempts[OTHER_SERVER])
        await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, None)
        await scene.services.typing.set(BOB, room_id, 10.0)
        for number in range(1, 5):
            await scene.say(ALICE, room_id, str(number))
        peers.held.pop(OTHER_SERVER).set()
        await until(lambda: len(peers.texts(OTHER_SERVER)) == 5)
        await scene.say(ALICE, room_id, "5")
        await until(lambda: len(peers.texts(OTHER_SERVER)) == 6)
    assert peers.texts(OTHER_SERVER) == [str(number) for number in range(6)]


@pytest.mark.parametrize(
    "answer",
    [{"pdus": []}, {"pdus": {"$x": 7}}, [], "yes", None, {"pdus": {"error": {"error": "x"}}}],
    ids=repr,
)
async def test_odd_answers_count_as_taken(scene: Scene, streams: Streams, peers: Peers, answer: Any) -> None:
    """Whatever JSON a server answers with 200, it has the transaction."""
    peers.answers[OTHER_SERVER] = lambda _: answer
    async with sending(scene.database, streams, peers, SERVER_NAME):
        room_id = await scene.room()
        await scene.remote_join(room_id, EVE)
        await scene.say(ALICE, room_id, "1")
        await scene.say(ALICE, room_id, "2")
        await until(lambda: peers.texts(OTHER_SERVER) == ["1", "2"])


async def test_an_error_of_one_event_is_the_last_word_on_it(scene: Scene, streams: Streams, peers: Peers) -> None:
    """It is counted, and not sent again."""

    def answer(body: Body) -> Any:
        return {"pdus": {event_id: {"error": "no"} for event_id in ids}}

    ids: list[str] = []
    peers.answers[OTHER_SERVER] = answer
    before = REGISTRY.get_sample_value("parley_pdus_sent_total", {"outcome": "error"}) or 0.0
    async with sending(scene.database, streams, peers, SERVER_NAME):
        room_id = await scene.room()
        await scene.remote_join(room_id, EVE)
        peers.held[OTHER_SERVER] = asyncio.Event()
        ids.append(await scene.say(ALICE, room_id, "1"))
        peers.held.pop(OTHER_SERVER).set()
        await until(lambda: peers.texts(OTHER_SERVER) == ["1"])
        await scene.say(ALICE, room_id, "2")
        await until(lambda: peers.texts(OTHER_SERVER) == ["1", "2"])
    assert REGISTRY.get_sample_value("parley_pdus_sent_total", {"outcome": "error"}) == before + 1
