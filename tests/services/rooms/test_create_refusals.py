"""What nobody may ask of a new room."""

import pytest

from homeserver.domain.errors import BadRequest
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from tests.builders.house import TestHouse

ALICE = "@alice:test.example"


@pytest.mark.parametrize("state_key", ["", "nobody", "@:"])
async def test_members_in_initial_state_are_users(house: TestHouse, state_key: str) -> None:
    """A member who is no user would be told to clients as a hero of the room."""
    member = {"type": "m.room.member", "state_key": state_key, "content": {"membership": "invite"}}
    request = RoomRequest(ROOM_VERSIONS["11"], "private_chat", initial_state=[member])

    with pytest.raises(BadRequest):
        await house.services.create(ALICE, request)

    assert await house.services.membership.joined_rooms(ALICE) == []
