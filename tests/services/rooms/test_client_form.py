"""Events as clients see them. https://spec.matrix.org/v1.19/client-server-api/#room-event-format"""

from typing import Any

import orjson
import pytest

from homeserver.services.client_form import stripped, with_redacts
from tests.services.rooms.scene import ALICE, BOB, CAROL, Scene

in_module = pytest.mark.asyncio(loop_scope="module")


async def shown(scene: Scene, user_id: str, device_id: str, room_id: str, event_id: str) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(await scene.services.history.event(user_id, device_id, room_id, event_id))
    return event


@in_module
@pytest.mark.parametrize("version", ["1", "3", "12"])
async def test_members_of_an_event(scene: Scene, version: str) -> None:
    """What clients are told, and nothing of what servers tell each other; the same in what is published."""
    room_id = await scene.room(version, members=[BOB])
    scene.clock.ms += 5
    event_id = await scene.say(ALICE, room_id, 'ü " \\ \0 \u2028')
    scene.clock.ms += 1234
    event = await shown(scene, BOB, "D", room_id, event_id)
    assert event == {
        "content": {"msgtype": "m.text", "body": 'ü " \\ \0 \u2028'},
        "event_id": event_id,
        "origin_server_ts": scene.clock.ms - 1234,
        "room_id": room_id,
        "sender": ALICE,
        "type": "m.room.message",
        "unsigned": {"age": 1234, "membership": "join"},
    }
    item = scene.event_items(room_id)[-1]
    told = orjson.loads(f"{{{item.client}}}")
    assert told == {key: event[key] for key in ("content", "origin_server_ts", "sender", "type")}
    assert item.unsigned == "" and item.event_id == event_id


@in_module
async def test_transaction_id_is_for_the_device_that_sent(scene: Scene) -> None:
    """No other device of the user, nobody else with a device of that name."""
    room_id = await scene.room("12", members=[BOB])
    event_id = await scene.services.send.message(ALICE, "PHONE", room_id, "org.example", 'txn "1"', {})
    for user_id, device_id, told in ((ALICE, "PHONE", True), (ALICE, "LAPTOP", False), (BOB, "PHONE", False)):
        event = await shown(scene, user_id, device_id, room_id, event_id)
        assert event["unsigned"].get("transaction_id") == ('txn "1"' if told else None)
    item = scene.event_items(room_id)[-1]
    assert (item.device_id, item.txn_id) == ("PHONE", 'txn "1"') and "txn" not in item.client + item.unsigned


@in_module
@pytest.mark.parametrize("version", ["1", "5", "12"])
async def test_state_tells_what_it_replaced(scene: Scene, version: str) -> None:
    """The content and the id of the event before, with all digits of old rooms' numbers; a first one tells nothing."""
    room_id = await scene.room(version)
    old = {"n": 10**25} if int(version) < 6 else {"n": 1, "ü": "\0"}
    first = await scene.put(ALICE, room_id, "org.example", old)
    second = await scene.put(ALICE, room_id, "org.example", {"n": 2})
    assert "prev_content" not in (await shown(scene, ALICE, "D", room_id, first))["unsigned"]
    unsigned = (await shown(scene, ALICE, "D", room_id, second))["unsigned"]
    assert unsigned["replaces_state"] == first
    raw = await scene.services.history.event(ALICE, "D", room_id, second)
    assert str(old["n"]).encode() in raw
    told = scene.event_items(room_id)[-1].unsigned
    assert str(old["n"]) in told and first in told
    if int(version) >= 6:
        assert unsigned["prev_content"] == old
    # Once it is redacted, nobody is told what it was.
    await scene.redact(ALICE, room_id, first)
    assert (await shown(scene, ALICE, "D", room_id, second))["unsigned"]["prev_content"] == {}


@in_module
@pytest.mark.parametrize("version", ["1", "3", "10", "11", "12"])
async def test_redactions_name_their_target_in_both_places(scene: Scene, version: str) -> None:
    """For clients of any age, whatever the room version says; so does `redacted_because`."""
    room_id = await scene.room(version, members=[BOB])
    target = await scene.say(BOB, room_id)
    redaction = await scene.services.send.redaction(ALICE, "D", room_id, target, f"r{version}", {"reason": "no"})
    event = await shown(scene, BOB, "D", room_id, redaction)
    assert event["redacts"] == target and event["content"] == {"redacts": target, "reason": "no"}
    redacted = await shown(scene, BOB, "D", room_id, target)
    because = redacted["unsigned"]["redacted_because"]
    assert redacted["content"] == {} and because["event_id"] == redaction and because["content"]["reason"] == "no"
    assert because["redacts"] == because["content"]["redacts"] == target
    told = orjson.loads(f"{{{scene.event_items(room_id)[-1].client}}}")
    assert told["redacts"] == told["content"]["redacts"] == target
    # A redaction that is redacted itself still says what it took away, as far as its version lets it.
    await scene.redact(ALICE, room_id, redaction)
    again = await shown(scene, BOB, "D", room_id, redaction)
    assert "reason" not in again["content"]
    assert again["unsigned"]["redacted_because"]["redacts"] == redaction


@in_module
async def test_stripped_state_holds_four_members(scene: Scene) -> None:
    """Sender, type, state key and content."""
    room_id = await scene.room("12", members=[CAROL])
    row = await scene.event_row((await scene.state(room_id))[("m.room.member", CAROL)].event_id)
    assert orjson.loads(stripped(row.client)) == {
        "content": {"membership": "join"},
        "sender": CAROL,
        "state_key": CAROL,
        "type": "m.room.member",
    }


@pytest.mark.parametrize("content", [{}, {"redacts": 7}, {"redacts": None}])
def test_redaction_of_nothing_is_shown_as_it_is(content: dict[str, Any]) -> None:
    """Another server may have written anything there."""
    client = orjson.dumps({"content": content, "type": "m.room.redaction"})[1:-1].decode()
    assert orjson.loads(f"{{{with_redacts(client)}}}") == {"content": content, "type": "m.room.redaction"}
