"""Pages and timelines that the database writes are the same as those made event by event.

A filter that keeps back what nobody sent makes a reader walk; without it the page, or the timeline, is plain.
"""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from homeserver.domain.filters import parse_event_filter, parse_sync_filter
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.rooms.pages import PageRequest
from homeserver.services.sync.request import SyncRequest
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse

ALICE, BOB = "@alice:test.example", "@bob:test.example"
NOTHING = {"not_types": ["org.example.never"]}


def text(body: str, **relation: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, **({"m.relates_to": relation} if relation else {})}


async def lively_room(house: TestHouse) -> str:
    """With everything that depends on who looks, or on what came later."""
    services = house.services
    room = await services.create(ALICE, RoomRequest(ROOM_VERSIONS["11"], "public_chat", name='a "name"'))
    await services.membership.join(BOB, room)
    sent = 0

    async def send(sender: str, content: dict[str, Any], type: str = "m.room.message") -> str:
        nonlocal sent
        sent += 1
        return await services.send.message(sender, "PHONE", room, type, f'txn "{sent}"', content)

    root = await send(ALICE, text("root \u2028 \\ \x7f"))
    await send(BOB, text("reply", rel_type="m.thread", event_id=root))
    edited = await send(BOB, text("first"))
    new = {"m.new_content": text("second")}
    await send(BOB, {**text("* second", rel_type="m.replace", event_id=edited), **new})
    await send(ALICE, {"m.relates_to": {"rel_type": "m.annotation", "event_id": edited, "key": "+"}}, "m.reaction")
    await send(ALICE, text("see", rel_type="m.reference", event_id=root))
    await services.send.state(ALICE, room, "m.room.topic", "", {"topic": "a\0b"})
    await services.send.state(ALICE, room, "m.room.topic", "", {"topic": "plain"})
    await services.send.state(ALICE, room, "m.room.topic", "", {"topic": "plainer"})
    gone = await send(BOB, text("regretted"))
    await services.send.redaction(BOB, "PHONE", room, gone, "redaction", {"reason": "typo"})
    await send(ALICE, text("last"))
    return room


def statements() -> float:
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


def without_ages(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: without_ages(value) for key, value in answer.items() if key not in ("age", "next_batch")}
    return [without_ages(value) for value in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("backwards", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
async def test_plain_pages_are_the_walked_ones(house: TestHouse, backwards: bool, lazy: bool) -> None:
    """Of any length, in both directions, for both devices and people, to the end."""
    room = await lively_room(house)
    for user_id, device_id, limit in ((ALICE, "PHONE", 4), (ALICE, "DESK", 100), (BOB, "PHONE", 3)):
        start: str | None = None
        options = {"lazy_load_members": lazy}
        for _ in range(30):
            request = PageRequest(room, start, None, backwards, limit, parse_event_filter(options))
            walking = replace(request, filter=parse_event_filter({**options, **NOTHING}))
            plain = orjson.loads(await house.services.history.page(user_id, device_id, request))
            walked = orjson.loads(await house.services.history.page(user_id, device_id, walking))
            assert without_ages(plain) == without_ages(walked)
            start = plain.get("end")
            if start is None:
                break
        assert start is None


@pytest.mark.parametrize("limit", [1, 5, 50])
@pytest.mark.parametrize("lazy", [True, False])
async def test_plain_syncs_are_the_walked_ones(house: TestHouse, limit: int, lazy: bool) -> None:
    """Timeline and state of a first sync."""
    await lively_room(house)
    for user_id, device_id in ((ALICE, "PHONE"), (ALICE, "DESK"), (BOB, "PHONE")):
        answers = []
        for narrow in ({}, NOTHING):
            state = {**narrow, "lazy_load_members": lazy}
            filter = parse_sync_filter({"room": {"timeline": {**narrow, "limit": limit}, "state": state}})
            answers.append(await house.services.sync(SyncRequest(user_id, device_id, None, 0.0, filter)))
        plain, walked = (without_ages(orjson.loads(answer)) for answer in answers)
        assert plain == walked


async def test_a_page_takes_few_statements(house: TestHouse) -> None:
    """Who reads, the page, and BEGIN and COMMIT; nothing more for what nothing points at."""
    services = house.services
    room = await services.create(ALICE, RoomRequest(ROOM_VERSIONS["12"], "private_chat"))
    for number in range(5):
        await services.send.message(ALICE, "PHONE", room, "m.room.message", str(number), text("hello"))
    request = PageRequest(room, None, None, True, 4, parse_event_filter({}))
    before = statements()
    await services.history.page(ALICE, "PHONE", request)
    assert statements() - before == 4
