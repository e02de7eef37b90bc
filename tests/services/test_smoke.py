"""Two people of one server in a room."""

from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from tests.builders.house import TestHouse


async def test_message_sent_twice_with_one_transaction_id_is_one_event(house: TestHouse) -> None:
    """A repeated transaction id gets the first event's id."""
    services = house.services
    room = await services.create("@a:test.example", RoomRequest(ROOM_VERSIONS["12"], "private_chat"))
    content = {"body": "hello", "msgtype": "m.text"}
    first = await services.send.message("@a:test.example", "D", room, "m.room.message", "t", content)
    second = await services.send.message("@a:test.example", "D", room, "m.room.message", "t", content)

    assert first == second
