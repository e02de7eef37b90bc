"""What a hostile server says of who types, reads and is there."""

from typing import Any

import pytest

from homeserver.streams.publications import ReceiptItem, TypingItem
from homeserver.telemetry.metrics import EDUS_RECEIVED
from tests.builders.identity import KnownRoom
from tests.federation.hostile import Hostile
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE, BOB

pytestmark = pytest.mark.asyncio(loop_scope="module")


def typing(user_id: object, room_id: object, typing: object = True) -> dict[str, Any]:
    return {"edu_type": "m.typing", "content": {"user_id": user_id, "room_id": room_id, "typing": typing}}


def receipt(user_id: str, room_id: str, event_id: object) -> dict[str, Any]:
    read = {user_id: {"event_ids": [event_id], "data": {"ts": 1}}}
    return {"edu_type": "m.receipt", "content": {room_id: {"m.read": read}}}


def presence(*user_ids: object) -> dict[str, Any]:
    push = [{"user_id": user_id, "presence": "online", "last_active_ago": 1} for user_id in user_ids]
    return {"edu_type": "m.presence", "content": {"push": push}}


def heard(ours: Ours, room: KnownRoom) -> list[Any]:
    """What was published of receipts and typing in the room, and of whom presence was heard."""
    items = [one.item for one in ours.published]
    told: list[Any] = [
        one for one in items if isinstance(one, ReceiptItem | TypingItem) and one.room_id == room.room_id
    ]
    return told + ours.presence.heard_of


def dropped(type: str) -> float:
    found: float = EDUS_RECEIVED.labels(type, "dropped")._value.get()
    return found


async def test_attack_23_users_of_other_servers(ours: Ours, mallory: Hostile, honest: Hostile) -> None:
    """A server speaks for its own users only; the honest ones among the lies are heard."""
    room = await mallory.join(await ours.room("11"))
    await honest.join(room.room_id)
    ours.presence.heard_of.clear()
    last = (await ours.timeline(room.room_id))[-1]
    before = {type: dropped(type) for type in ("m.typing", "m.receipt", "m.presence")}
    victims = (ALICE, honest.user("eve"), f"@eve:{mallory.name}.example", "@eve", mallory.name, "")
    for user_id in victims:
        edus = [typing(user_id, room.room_id), receipt(user_id, room.room_id, last), presence(user_id)]
        await mallory.send(edus=edus)
    assert heard(ours, room) == []
    assert {type: dropped(type) - was for type, was in before.items()} == dict.fromkeys(before, len(victims))
    eve = mallory.user("eve")
    edus = [presence(ALICE, eve, BOB), typing(ALICE, room.room_id), typing(eve, room.room_id)]
    await mallory.send(edus=[*edus, receipt(eve, room.room_id, last)])
    assert ours.presence.heard_of == [eve]
    told = [one.item for one in ours.published[-2:]]
    assert isinstance(told[0], TypingItem) and told[0].user_ids == (eve,)
    assert isinstance(told[1], ReceiptItem) and (told[1].user_id, told[1].event_id) == (eve, last)


async def test_attack_23_users_who_are_not_in_the_room(ours: Ours, mallory: Hostile) -> None:
    """Neither typing nor receipts of somebody who never was in the room, or has left; nor in rooms that are not."""
    room = await mallory.join(await ours.room("11"))
    secret = await ours.room("11", "private_chat")
    last = (await ours.timeline(room.room_id))[-1]
    await mallory.send(room.member(mallory.user("eve"), "leave").pdu)
    seen = len(ours.published)
    for room_id in (room.room_id, secret, "!nowhere:test.example"):
        for user_id in (mallory.user("eve"), mallory.user("stranger")):
            await mallory.send(edus=[typing(user_id, room_id), receipt(user_id, room_id, last)])
    assert ours.published[seen:] == []


async def test_edus_that_are_none(ours: Ours, mallory: Hostile) -> None:
    """Each is dropped alone, and the transaction is answered."""
    room = await mallory.join(await ours.room("11"))
    eve, last = mallory.user("eve"), (await ours.timeline(room.room_id))[-1]
    odd: list[Any] = [
        None,
        7,
        [],
        {},
        {"edu_type": ["m.typing"], "content": {}},
        {"edu_type": "m.typing", "content": []},
        {"edu_type": "m.direct_to_device", "content": {"messages": {ALICE: {"*": 7}}}},
        typing(eve, room.room_id, "yes"),
        typing(eve, [room.room_id]),
        typing({"a": eve}, room.room_id),
        receipt(eve, room.room_id, {"a": 1}),
        receipt(eve, room.room_id, "no event"),
        {"edu_type": "m.receipt", "content": {room.room_id: {"m.read": [eve]}}},
        {"edu_type": "m.receipt", "content": {room.room_id: {"m.read": {eve: {"event_ids": last}}}}},
        {"edu_type": "m.receipt", "content": {room.room_id: 7, "": {}, "x": None}},
        {"edu_type": "m.presence", "content": {"push": {eve: 1}}},
        {"edu_type": "m.presence", "content": {"push": [None, 7, {"user_id": 7}]}},
    ]
    ours.presence.heard_of.clear()
    await mallory.send(edus=odd)
    assert heard(ours, room) == []
    await mallory.send(edus=[*odd, typing(eve, room.room_id)])
    [told] = heard(ours, room)
    assert told.user_ids == (eve,)
