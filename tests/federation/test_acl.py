"""Which rooms let a server in, as their server ACLs stand now."""

from typing import Any

import pytest

from federation.acl import RoomAcls
from homeserver.domain.errors import Forbidden
from homeserver.domain.versions import V11
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.rooms.server_acls import StandingAcls
from tests.builders.house import TestHouse

ALICE, DEVICE = "@alice:test.example", "DEVICE"
ALL = {"allow": ["*"]}
NOT_EVIL = {"allow": ["*"], "deny": ["*.evil.example", "evil.example"]}


class Room:
    """A room of Alice's."""

    def __init__(self, house: TestHouse, room_id: str) -> None:
        self.house = house
        self.id = room_id

    @classmethod
    async def make(cls, house: TestHouse) -> "Room":
        return cls(house, await house.services.create(ALICE, RoomRequest(V11, "public_chat")))

    async def set_acl(self, content: dict[str, Any]) -> str:
        """The event's id."""
        return await self.house.services.send.state(ALICE, self.id, "m.room.server_acl", "", content)


@pytest.fixture
def acls(next_house: TestHouse) -> RoomAcls:
    return RoomAcls(StandingAcls(next_house.database))


async def test_what_stands_in_the_room_counts(next_house: TestHouse, acls: RoomAcls) -> None:
    """Without an ACL all may come in; with one whom it lets in; after a change what it says then."""
    room = await Room.make(next_house)
    await acls.require(room.id, "evil.example")
    await room.set_acl(NOT_EVIL)
    for _ in range(2):
        await acls.require(room.id, "good.example")
        with pytest.raises(Forbidden):
            await acls.require(room.id, "a.EVIL.example:8448")
    await room.set_acl(ALL)
    await acls.require(room.id, "evil.example")


async def test_a_redacted_list_lets_nobody_in(next_house: TestHouse, acls: RoomAcls) -> None:
    """It is the same event, and it says nothing any more: "This defaults to an empty list when not provided"."""
    room = await Room.make(next_house)
    event_id = await room.set_acl(ALL)
    await acls.require(room.id, "good.example")
    await next_house.services.send.redaction(ALICE, DEVICE, room.id, event_id, "txn", {})
    with pytest.raises(Forbidden):
        await acls.require(room.id, "good.example")


async def test_many_rooms_at_once(next_house: TestHouse, acls: RoomAcls) -> None:
    """A transaction asks for all its rooms in one read; one that we do not know has no list."""
    closed, free = await Room.make(next_house), await Room.make(next_house)
    await closed.set_acl(NOT_EVIL)
    rooms = [closed.id, free.id, "!unknown:test.example"]
    assert await acls.allowed(rooms, "evil.example") == {free.id, "!unknown:test.example"}
    assert await acls.allowed(rooms, "good.example") == set(rooms)
    assert await acls.allowed([], "good.example") == set()


async def test_memory_is_bounded(next_house: TestHouse) -> None:
    """What is pushed out is read and compiled again, with the same result."""
    acls = RoomAcls(StandingAcls(next_house.database), max_bytes=1, max_rooms=2)
    rooms = [await Room.make(next_house) for _ in range(4)]
    for room in rooms:
        await room.set_acl(NOT_EVIL)
    for _ in range(2):
        for room in rooms:
            assert await acls.allowed([room.id], "evil.example") == set()
        assert await acls.allowed([room.id for room in rooms], "good.example") == {room.id for room in rooms}
    assert len(acls._compiled) == 1 and len(acls._versions) <= 2
