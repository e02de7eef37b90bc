"""A member list that is kept is the one that would be read.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
"""

import random
from typing import Any

import orjson
import pytest

from config.system import SystemClock
from homeserver.domain.errors import Forbidden
from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.rooms.member_lists import MemberList, MemberLists
from homeserver.services.rooms.state import RoomState
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse

ALICE = "@alice:test.example"
PEOPLE = [f"@p{number}:test.example" for number in range(4)]
ASKED = [(None, None), ("join", None), (None, "join"), ("leave", None)]


def _statements() -> float:
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


def _ageless(raw: bytes) -> list[Any]:
    chunk: list[Any] = orjson.loads(raw)["chunk"]
    for event in chunk:
        for told in (event, event["unsigned"].get("redacted_because", {"unsigned": {"age": 0}})):
            assert told["unsigned"].pop("age") >= 0
    return chunk


async def _room(house: TestHouse) -> str:
    request = RoomRequest(DEFAULT_ROOM_VERSION, "public_chat", power_levels={"redact": 0})
    return await house.services.create(ALICE, request)


async def _step(house: TestHouse, dice: random.Random, room: str, number: int) -> None:
    """Somebody comes, goes, is brought or thrown out, takes another name, says something or takes it back."""
    services, person = house.services, dice.choice(PEOPLE)
    try:
        match dice.choice(("join", "leave", "invite", "ban", "unban", "say", "rename", "redact")):
            case "join":
                await services.membership.join(person, room)
            case "leave":
                await services.membership.leave(person, room)
            case "invite":
                await services.membership.invite(ALICE, room, person)
            case "ban":
                await services.membership.ban(ALICE, room, person)
            case "unban":
                await services.membership.unban(ALICE, room, person)
            case "say":
                content = {"msgtype": "m.text", "body": "hello"}
                await services.send.message(ALICE, "D", room, "m.room.message", f"s{number}", content)
            case "rename":
                content = {"membership": "join", "displayname": f"number {number}"}
                await services.send.state(person, room, "m.room.member", person, content)
            case _:
                chunk = orjson.loads(await services.state.members(ALICE, room, None, None, None))["chunk"]
                target = dice.choice(chunk)["event_id"]
                await services.send.redaction(ALICE, "D", room, target, f"r{number}", {})
    except Forbidden:
        return


@pytest.mark.parametrize("seed", range(3))
async def test_a_kept_list_is_never_old(house: TestHouse, seed: int) -> None:
    """After each of many random steps, in every selection."""
    dice = random.Random(seed)
    room = await _room(house)
    for number in range(40):
        await _step(house, dice, room, number)
        streams = house.streams
        anew = RoomState(house.database, SystemClock(), MemberLists(streams.publisher, streams.tail))
        for wanted, unwanted in ASKED:
            kept = await house.services.state.members(ALICE, room, None, wanted, unwanted)
            read = await anew.members(ALICE, room, None, wanted, unwanted)
            assert _ageless(kept) == _ageless(read)


async def test_asked_again_it_costs_only_the_door(house: TestHouse) -> None:
    """Also after messages; and whoever may not see it gets nothing of it."""
    room = await _room(house)
    state = house.services.state
    first = await state.members(ALICE, room, None, None, None)
    content = {"msgtype": "m.text", "body": "hello"}
    await house.services.send.message(ALICE, "D", room, "m.room.message", "t", content)
    before = _statements()
    assert _ageless(await state.members(ALICE, room, None, None, None)) == _ageless(first)
    # BEGIN, the door, COMMIT.
    assert _statements() - before <= 3
    with pytest.raises(Forbidden):
        await state.members(PEOPLE[0], room, None, None, None)


async def test_lists_are_bounded(house: TestHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones asked for least lately go first, and what is too large is not kept."""
    monkeypatch.setattr("homeserver.services.rooms.member_lists.MAX_BYTES", 1_000)
    monkeypatch.setattr("homeserver.services.rooms.member_lists.MAX_LIST_BYTES", 600)
    lists = MemberLists(house.streams.publisher, house.streams.tail)
    for number in range(5):
        lists.put(f"!r{number}", number, ("join",), lists.now, MemberList(["x" * 400], []))
    lists.put("!large", 9, ("join",), lists.now, MemberList(["x" * 700], []))
    assert lists.size == (2, 800)
    assert [lists.find(f"!r{number}", ("join",)) is not None for number in range(5)] == [False] * 3 + [True] * 2
    assert lists.find("!large", ("join",)) is None
