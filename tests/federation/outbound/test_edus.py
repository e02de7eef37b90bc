"""What our users type and read, and whether they are there, as other servers are told of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from config.compose.sending import Sending
from config.compose.storage import Streams
from federation.outbound.packing import Units, pack, take_receipts
from homeserver.services.rooms.remote.outgoing import OutgoingReceipt
from tests.builders.cluster import SERVER_NAME
from tests.builders.waiting import until
from tests.federation.outbound.peers import Peers, sending
from tests.services.rooms.scene import ALICE, BOB, EVE, FRANK, OTHER_SERVER, Scene


@pytest.fixture
async def outbox(scene: Scene, streams: Streams, peers: Peers) -> AsyncIterator[Sending]:
    async with sending(scene.database, streams, peers, SERVER_NAME) as opened:
        yield opened


async def shared_room(scene: Scene) -> str:
    room_id = await scene.room(members=[BOB])
    await scene.remote_join(room_id, EVE)
    return room_id


async def test_typing_is_told_when_it_begins_and_ends(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """Of our users only, and of no other server's."""
    room_id = await shared_room(scene)
    await scene.services.typing.set(EVE, room_id, 10.0)
    await scene.services.typing.set(ALICE, room_id, 10.0)
    await until(lambda: peers.edus(OTHER_SERVER, "m.typing"))
    await scene.services.typing.set(ALICE, room_id, 0.0)
    await until(lambda: len(peers.edus(OTHER_SERVER, "m.typing")) == 2)
    assert peers.edus(OTHER_SERVER, "m.typing") == [
        {"room_id": room_id, "typing": True, "user_id": ALICE},
        {"room_id": room_id, "typing": False, "user_id": ALICE},
    ]


async def test_typing_is_not_told_to_who_was_away(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """It is old by the time the server is back; of what came while it was busy, the latest counts."""
    room_id = await shared_room(scene)
    peers.away.add(OTHER_SERVER)
    await scene.services.typing.set(ALICE, room_id, 10.0)
    await until(lambda: peers.attempts[OTHER_SERVER])
    await scene.say(BOB, room_id, "hello")
    peers.up(OTHER_SERVER)
    await until(lambda: peers.texts(OTHER_SERVER) == ["hello"])
    assert not peers.edus(OTHER_SERVER, "m.typing")
    peers.held[OTHER_SERVER] = asyncio.Event()
    before = peers.attempts[OTHER_SERVER]
    await scene.say(BOB, room_id, "again")
    await until(lambda: peers.attempts[OTHER_SERVER] > before)
    await scene.services.typing.set(ALICE, room_id, 0.0)
    await scene.services.typing.set(BOB, room_id, 10.0)
    await scene.services.typing.set(BOB, room_id, 0.0)
    peers.held.pop(OTHER_SERVER).set()
    told = await until(lambda: peers.edus(OTHER_SERVER, "m.typing"))
    assert {(edu["user_id"], edu["typing"]) for edu in told} == {(ALICE, False), (BOB, False)}


async def test_receipts_are_told(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """Public ones of our users, with their thread; private ones to nobody."""
    room_id = await shared_room(scene)
    event_id = await scene.say(ALICE, room_id, "hello")
    await scene.services.receipts.set(BOB, room_id, {"m.read.private": event_id}, None)
    await scene.services.receipts.set(EVE, room_id, {"m.read": event_id}, None)
    await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, "main")
    (told,) = await until(lambda: peers.edus(OTHER_SERVER, "m.receipt"))
    receipt = {"data": {"ts": scene.clock.ms, "thread_id": "main"}, "event_ids": [event_id]}
    assert told == {room_id: {"m.read": {BOB: receipt}}}


@pytest.mark.parametrize("crash", [False, True])
async def test_receipts_survive(scene: Scene, streams: Streams, peers: Peers, crash: bool) -> None:
    """A receipt that the client was told is set reaches a server that was away, over a restart of ours; the latest."""
    peers.away.add(OTHER_SERVER)
    async with sending(scene.database, streams, peers, SERVER_NAME, crash=crash):
        room_id = await shared_room(scene)
        first = await scene.say(ALICE, room_id, "1")
        await scene.services.receipts.set(BOB, room_id, {"m.read": first}, None)
        await until(lambda: peers.attempts[OTHER_SERVER])
    second = await scene.say(ALICE, room_id, "2")
    await scene.services.receipts.set(BOB, room_id, {"m.read": second}, None)
    peers.away.clear()
    async with sending(scene.database, streams, peers, SERVER_NAME):
        told = await until(lambda: peers.edus(OTHER_SERVER, "m.receipt"))
    assert [edu[room_id]["m.read"][BOB]["event_ids"] for edu in told] == [[second]]


async def test_presence_goes_where_it_is_sent(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """The latest of each user, while the server is busy."""
    room_id = await shared_room(scene)
    peers.held[OTHER_SERVER] = asyncio.Event()
    await scene.say(ALICE, room_id, "hello")
    await until(lambda: peers.attempts[OTHER_SERVER])

    def update(user_id: str, presence: str) -> dict[str, Any]:
        return {"user_id": user_id, "presence": presence, "last_active_ago": 0}

    outbox.outbox.send_presence([update(ALICE, "online"), update(BOB, "online")], [OTHER_SERVER])
    outbox.outbox.send_presence([update(ALICE, "unavailable")], [OTHER_SERVER])
    peers.held.pop(OTHER_SERVER).set()
    (told,) = await until(lambda: peers.edus(OTHER_SERVER, "m.presence"))
    assert told == {"push": [update(BOB, "online"), update(ALICE, "unavailable")]}


def receipt(number: int, user_id: str, thread_id: str | None = None) -> OutgoingReceipt:
    return OutgoingReceipt(number, 1, "!room:test", user_id, thread_id, f"$event{number}", number)


def test_one_receipt_per_user_and_room_in_a_unit() -> None:
    """Receipts of several threads of one user go in several units, of which there are not too many."""
    receipts = [
        receipt(1, ALICE),
        receipt(2, BOB),
        receipt(3, ALICE, "main"),
        receipt(4, ALICE, "$t"),
        receipt(5, FRANK),
    ]
    taken, count = take_receipts(receipts, 2)
    assert [one.position for one in taken] == [1, 2, 3] and count == 2
    body = pack("t", "a.test", 1, [], Units(receipts))
    assert body.body.count(b'"edu_type":"m.receipt"') == 3
