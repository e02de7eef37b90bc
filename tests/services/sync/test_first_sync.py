"""First syncs of people in many rooms: taken in parts, each as of one position, in memory that many rooms do not need.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import tracemalloc
from dataclasses import replace
from typing import Any

import orjson

from homeserver.domain.filters import SyncFilter, parse_sync_filter
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.sync.request import SyncRequest
from homeserver.services.tokens import parse_sync_token
from tests.builders.house import TestHouse

ALICE, BOB = "@alice:test.example", "@bob:test.example"
BIG = 30_000


def first(user_id: str, **options: Any) -> SyncRequest:
    return SyncRequest(user_id, "D", None, 0.0, SyncFilter(), **options)


async def settle_in(house: TestHouse, user_id: str, rooms: int, size: int, messages: int = 1) -> list[str]:
    """Rooms with messages of so many bytes in each."""
    found: list[str] = []
    for _ in range(rooms):
        room = await house.services.create(user_id, RoomRequest(ROOM_VERSIONS["12"], "private_chat"))
        content = {"msgtype": "m.text", "body": "x" * size}
        for number in range(messages):
            await house.services.send.message(user_id, "D0", room, "m.room.message", f"t{number}", content)
        found.append(room)
    return found


async def parts_of(house: TestHouse, request: SyncRequest) -> list[bytes]:
    begin, rest = await house.services.sync.begin(request)
    return [begin] if rest is None else [begin, *[part async for part in rest]]


def without_ages(answer: bytes) -> Any:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(one) for key, one in value.items() if key != "age"}
        return [strip(one) for one in value] if isinstance(value, list) else value

    return strip(orjson.loads(answer))


async def test_the_parts_are_the_answer(house: TestHouse) -> None:
    """Joined, left and invited rooms, in more parts than one: put together they are what a call answers."""
    services = house.services
    rooms = await settle_in(house, ALICE, 53, 10)
    await services.membership.leave(ALICE, rooms[0])
    invite = await services.create(BOB, RoomRequest(ROOM_VERSIONS["12"], "private_chat"))
    await services.membership.invite(BOB, invite, ALICE)
    filter = parse_sync_filter({"room": {"include_leave": True}})
    request = SyncRequest(ALICE, "D", None, 0.0, filter)

    parts = await parts_of(house, request)

    assert len(parts) > 2
    told = without_ages(b"".join(parts))
    assert told == without_ages(await services.sync(request))
    assert {kind: len(of_kind) for kind, of_kind in told["rooms"].items()} == {"join": 52, "leave": 1, "invite": 1}


async def test_few_rooms_are_one_part(house: TestHouse) -> None:
    """Nothing is left to be taken, and nobody without rooms is told of any."""
    assert "rooms" not in orjson.loads((await parts_of(house, first(BOB)))[0])
    await settle_in(house, ALICE, 2, 10)
    [part] = await parts_of(house, first(ALICE))
    assert len(orjson.loads(part)["rooms"]["join"]) == 2


async def test_all_parts_are_as_of_one_position(house: TestHouse) -> None:
    """What is said while the parts are taken comes with the next sync, in every room."""
    services = house.services
    rooms = await settle_in(house, ALICE, 53, 10)
    begin, rest = await services.sync.begin(first(ALICE))
    assert rest is not None
    late = [
        await services.send.message(ALICE, "D0", room, "m.room.message", "late", {"msgtype": "m.text", "body": "late"})
        for room in (rooms[0], rooms[-1])
    ]

    answer = begin + b"".join([part async for part in rest])

    assert not any(event_id.encode() in answer for event_id in late)
    since = parse_sync_token(orjson.loads(answer)["next_batch"])
    following = await services.sync(replace(first(ALICE), since=since))
    assert all(event_id.encode() in following for event_id in late)


async def test_memory_does_not_grow_with_the_rooms(house: TestHouse) -> None:
    """Whoever is in three times as many rooms needs as much memory for a first sync, if it is taken in parts."""
    peaks: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for user_id, rooms in ((ALICE, 60), (BOB, 180)):
        await settle_in(house, user_id, rooms, BIG)
        await parts_of(house, first(user_id))
        tracemalloc.start()
        begin, rest = await house.services.sync.begin(first(user_id))
        assert rest is not None
        size = len(begin)
        del begin
        async for part in rest:
            size += len(part)
            del part
        peaks[user_id], sizes[user_id] = tracemalloc.get_traced_memory()[1], size
        tracemalloc.stop()
    assert sizes[BOB] > 180 * BIG
    assert sizes[BOB] > 2.9 * sizes[ALICE]
    assert peaks[BOB] < 1.3 * peaks[ALICE]


async def test_parts_become_smaller_where_there_is_much_to_tell(house: TestHouse) -> None:
    """After a part that was too large, fewer rooms are read at once."""
    await settle_in(house, ALICE, 100, 60_000, messages=2)
    begin, rest = await house.services.sync.begin(first(ALICE))
    assert rest is not None
    sizes = [len(begin)] + [len(part) async for part in rest]
    assert sizes[0] > 5_000_000
    assert max(sizes[1:]) < 4_500_000
