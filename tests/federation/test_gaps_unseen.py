"""Gaps that no reader stands before: behind events that nobody sees, filled from another side, or not to be had now."""

from typing import Any

import pytest

from homeserver.services.rooms.remote.missing import STEP
from tests.builders.peer import Reply
from tests.federation.hostile import Hostile, Question, path
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = "m.room.message"


def nothing(question: Question) -> Any:
    return {"events": []}


@pytest.mark.parametrize("version", ["1", "6", "12"])
async def test_a_gap_behind_events_that_nobody_sees(ours: Ours, mallory: Hostile, version: str) -> None:
    """What the first event over the gap tells is not shown, as its sender is banned here: what is before it is found
    all the same, once somebody reads before the first event that is shown. Then others are told of it, too."""
    room = await mallory.join(await ours.room(version))
    eve, ida = mallory.user("eve"), mallory.user("ida")
    await mallory.send(room.member(ida, "join").pdu)
    await ours.services.send.state(ALICE, room.room_id, "m.room.member", eve, {"membership": "ban"})
    withheld = [room.send(ida, MESSAGE, {"body": f"withheld {number}"}) for number in range(3)]
    unseen = [room.send(eve, MESSAGE, {"body": f"unseen {number}"}) for number in range(2)]
    seen = room.send(ida, MESSAGE, {"body": "seen"})
    mallory.lies["get_missing_events"] = nothing
    for event in (*unseen, seen):
        assert await mallory.send(event.pdu) == {event.event_id: {}}
        await ours.settled()
    assert [await ours.verdict(event.event_id) for event in unseen] == ["soft_failed"] * 2
    assert [await ours.verdict(event.event_id) for event in withheld] == [None] * 3

    assert await ours.bodies(room.room_id) == ["withheld 0", "withheld 1", "withheld 2", "seen"]
    assert mallory.asked["backfill"] == 1
    query = {"v": [seen.event_id], "limit": 10}
    answer = await mallory.ask("GET", path("v1", "backfill", room.room_id), **query)
    told = [mallory.read(room.version, pdu, room.room_id).event_id for pdu in answer.body["pdus"]]
    assert told[:6] == [event.event_id for event in reversed([*withheld, *unseen, seen])]


async def test_a_gap_far_behind_events_that_nobody_sees(ours: Ours, mallory: Hostile) -> None:
    """More of them than are looked behind at once."""
    room = await mallory.join(await ours.room("11"))
    eve, ida = mallory.user("eve"), mallory.user("ida")
    await mallory.send(room.member(ida, "join").pdu)
    await ours.services.send.state(ALICE, room.room_id, "m.room.member", eve, {"membership": "ban"})
    room.send(ida, MESSAGE, {"body": "withheld"})
    unseen = [room.send(eve, MESSAGE, {"body": f"unseen {number}"}).pdu for number in range(STEP + 10)]
    seen = room.send(ida, MESSAGE, {"body": "seen"})
    mallory.lies["get_missing_events"] = nothing
    for pdus in (unseen[:1], unseen[1:40], unseen[40:], [seen.pdu]):
        await mallory.send(*pdus)
        await ours.settled()
    assert await ours.bodies(room.room_id) == ["withheld", "seen"]
    marked = "SELECT count(*) FROM events e JOIN rooms r ON r.number = e.room WHERE r.room_id = %s AND e.gap_before"
    assert await ours.sql(marked, room.room_id) == [(0,)]


async def test_events_that_nobody_sees_on_both_sides_of_a_gap(ours: Ours, mallory: Hostile) -> None:
    """What fills a gap may be shown to nobody either, and follow something that is missing: reading goes on there."""
    room = await mallory.join(await ours.room("11"))
    eve, ida = mallory.user("eve"), mallory.user("ida")
    await mallory.send(room.member(ida, "join").pdu)
    first = room.send(ida, MESSAGE, {"body": "first"})
    # Not allowed, and so rejected by everybody.
    topic = room.send(eve, "m.room.topic", {"topic": "of nobody"}, "")
    middle = room.send(ida, MESSAGE, {"body": "middle"})
    late = room.send(ida, MESSAGE, {"body": "late"})

    def one_by_one(question: Question) -> Any:
        pdus = [event.pdu for event in room.events if event.event_id in question.query["v"]]
        return {"origin": mallory.name, "origin_server_ts": 0, "pdus": pdus}

    del room.state["m.room.topic", ""]
    mallory.lies |= {"get_missing_events": nothing, "backfill": one_by_one}
    await mallory.send(late.pdu)
    await ours.settled()
    assert await ours.bodies(room.room_id) == ["first", "middle", "late"]
    assert [await ours.verdict(one.event_id) for one in (first, topic, middle)] == ["accepted", "rejected", "accepted"]


async def test_a_gap_that_was_filled_from_another_side(ours: Ours, mallory: Hostile) -> None:
    """Two events follow what is missing: it is asked for once, and stands once."""
    room = await mallory.join(await ours.room("11"))
    eve = mallory.user("eve")
    withheld = room.send(eve, MESSAGE, {"body": "withheld"})
    fork = [room.draft(eve, MESSAGE, {"body": f"late {number}"}, prev=[withheld]) for number in range(2)]
    mallory.lies["get_missing_events"] = nothing
    for event in fork:
        room.add(event)
        assert await mallory.send(event.pdu) == {event.event_id: {}}
        await ours.settled()
    for _ in range(2):
        bodies = await ours.bodies(room.room_id)
        assert sorted(bodies) == ["late 0", "late 1", "withheld"]
        assert mallory.asked["backfill"] == 1
    rows = await ours.sql("SELECT count(*) FROM events WHERE gap_before AND event_id = ANY(%s)", _ids(fork))
    assert rows == [(0,)]


async def test_history_whose_state_is_kept_back_for_now(ours: Ours, mallory: Hostile) -> None:
    """The events would be given, but not the state before them: they are asked for again when somebody reads again."""
    room = await mallory.join(await ours.room("11"))
    eve = mallory.user("eve")
    for number in range(3):
        room.send(eve, MESSAGE, {"body": f"withheld {number}"})
    late = room.send(eve, MESSAGE, {"body": "late"})
    mallory.lies["get_missing_events"] = nothing
    await mallory.send(late.pdu)
    await ours.settled()

    def one_by_one(question: Question) -> Any:
        pdus = [event.pdu for event in room.events if event.event_id in question.query["v"]]
        return {"origin": mallory.name, "origin_server_ts": 0, "pdus": pdus}

    mallory.lies["backfill"] = one_by_one
    mallory.lies["state_ids"] = lambda question: Reply(404, {"errcode": "M_NOT_FOUND"})
    assert await ours.bodies(room.room_id) == ["late"]
    del mallory.lies["state_ids"]
    assert await ours.bodies(room.room_id) == ["withheld 0", "withheld 1", "withheld 2", "late"]


def _ids(events: Any) -> list[str]:
    return [event.event_id for event in events]
