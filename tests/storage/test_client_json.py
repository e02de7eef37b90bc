"""Lists of events that the database puts together."""

import orjson

from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from tests.builders.house import TestHouse

ALICE = "@alice:test.example"


async def test_state_lists_survive_nul_in_what_was_replaced(house: TestHouse) -> None:
    """U+0000 in a former content can be written by no function of PostgreSQL, and stands in the answer all the same."""
    services = house.services
    room = await services.create(ALICE, RoomRequest(ROOM_VERSIONS["12"], "private_chat"))
    await services.send.state(ALICE, room, "m.room.name", "", {"name": "a\0b"})
    await services.send.state(ALICE, room, "m.room.name", "", {"name": "plain"})

    state = orjson.loads(await services.state.all(ALICE, room))

    names = [event for event in state if event["type"] == "m.room.name"]
    assert [event["content"] for event in names] == [{"name": "plain"}]
    assert names[0]["unsigned"]["prev_content"] == {"name": "a\0b"}


async def test_lists_are_the_same_as_event_by_event(house: TestHouse) -> None:
    """The database writes what `ClientForm` writes, ages aside."""
    services = house.services
    room = await services.create(ALICE, RoomRequest(ROOM_VERSIONS["11"], "private_chat", name='a " quote'))
    await services.send.state(ALICE, room, "m.room.name", "", {"name": 'an "other" one', "n": [1, {"x": None}]})

    listed = orjson.loads(await services.state.all(ALICE, room))

    singly = [
        orjson.loads(await services.state.get(ALICE, room, event["type"], event["state_key"], whole=True))
        for event in listed
    ]
    for event in [*listed, *singly]:
        del event["unsigned"]["age"]
    assert listed == singly
