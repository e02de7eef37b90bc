"""Read receipts: what they tell to whom, and that they never go back."""

import asyncio
import itertools

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.storage.receipts import ReceiptRow
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.publications import AccountDataItem, Publication, ReceiptItem
from tests.services.rooms.scene import ALICE, BOB, CAROL, Scene, examples

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def standing(
    scene: Scene, room_id: str, user_id: str, type: str = "m.read", thread: str = ""
) -> ReceiptRow | None:
    rows = await scene.sql(
        "SELECT c.room, user_id, type, thread_id, event_id, anchor, ts, position FROM receipts c"
        " JOIN rooms r ON r.number = c.room WHERE room_id = %s AND user_id = %s AND type = %s AND thread_id = %s",
        room_id, user_id, type, thread,
    )  # fmt: skip
    return ReceiptRow(*rows[0]) if rows else None


def told(scene: Scene, room_id: str) -> list[Publication]:
    return [one for one in scene.published if isinstance(one.item, ReceiptItem) and one.item.room_id == room_id]


async def test_receipt_is_kept_and_told(scene: Scene) -> None:
    """To all who watch the room; a private one to its user only."""
    room_id = await scene.room(members=[BOB])
    event_id = await scene.say(ALICE, room_id)
    scene.clock.ms += 1000
    await scene.services.receipts.set(BOB, room_id, {"m.read": event_id, "m.read.private": event_id}, None)
    number, anchor = (await scene.row(room_id)).number, (await scene.event_row(event_id)).anchor
    public, private = await standing(scene, room_id, BOB), await standing(scene, room_id, BOB, "m.read.private")
    assert public is not None and private is not None
    assert (public.event_id, public.anchor, public.ts) == (event_id, anchor, scene.clock.ms)
    first, second = told(scene, room_id)
    assert first.keys == (room_key(number),) and first.position == public.position
    assert first.item == ReceiptItem(number, room_id, BOB, "m.read", None, event_id, scene.clock.ms)
    assert second.keys == (user_key(BOB),) and second.position == private.position


async def test_receipts_of_threads_stand_apart(scene: Scene) -> None:
    """One for each thread, one for the main timeline, one for all."""
    room_id = await scene.room(members=[BOB])
    root, last = await scene.say(ALICE, room_id, "root"), await scene.say(ALICE, room_id, "last")
    reply = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    events = [root, await scene.say(ALICE, room_id, "reply", **reply), last]
    for event_id, thread in zip(events, ("main", root, None), strict=True):
        await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, thread)
    for event_id, thread in zip(events, ("main", events[0], ""), strict=True):
        row = await standing(scene, room_id, BOB, thread=thread)
        assert row is not None and row.event_id == event_id
    items = [one.item for one in told(scene, room_id)]
    assert [item.thread_id for item in items if isinstance(item, ReceiptItem)] == ["main", root, None]


async def test_receipts_name_the_thread_of_their_event(scene: Scene) -> None:
    """Replies, and what relates to them, stand in the thread; all else, also what relates to the root, in the main
    timeline. A receipt that says otherwise is refused."""
    room_id = await scene.room(members=[BOB])

    async def related(rel_type: str, event_id: str) -> str:
        relation = {"rel_type": rel_type, "event_id": event_id}
        return await scene.send(ALICE, room_id, "m.thing", {"m.relates_to": relation})

    root, other = await scene.say(ALICE, room_id, "root"), await scene.say(ALICE, room_id, "other")
    reply = await related("m.thread", root)
    edit = await related("m.replace", reply)
    threads = {
        "main": [root, other, await related("m.reference", root)],
        root: [reply, edit, await related("m.annotation", edit)],
        other: [await related("m.thread", other)],
    }
    for thread, events in threads.items():
        for event_id in events:
            await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, thread)
            await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, None)
            for wrong in threads.keys() - {thread, event_id}:
                with pytest.raises(BadRequest):
                    await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, wrong)


async def test_receipt_for_an_unknown_event_gives_way(scene: Scene) -> None:
    """It is kept as long as nothing better is known, and takes no place from one that points into the room."""
    room_id, other = await scene.room(members=[BOB]), await scene.room(members=[BOB])
    known, elsewhere = await scene.say(ALICE, room_id), await scene.say(ALICE, other)
    for event_id in ("$unknown", elsewhere):
        await scene.services.receipts.set(BOB, room_id, {"m.read": event_id}, None)
        row = await standing(scene, room_id, BOB)
        assert row is not None and (row.event_id, row.anchor) == (event_id, None)
    await scene.services.receipts.set(BOB, room_id, {"m.read": known}, None)
    await scene.services.receipts.set(BOB, room_id, {"m.read": "$unknown"}, None)
    row = await standing(scene, room_id, BOB)
    assert row is not None and row.event_id == known


@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.lists(st.integers(0, 5), min_size=1, max_size=10))
async def test_receipts_never_go_back(scene: Scene, order: list[int]) -> None:
    """In whatever order they come, the latest event stands, and only steps ahead are told, each at a position of its
    own above the one before."""
    room_id = await scene.room(members=[BOB])
    events = [await scene.say(ALICE, room_id, f"{n}") for n in range(6)]
    for place in order:
        await scene.services.receipts.set(BOB, room_id, {"m.read": events[place]}, None)
    row = await standing(scene, room_id, BOB)
    assert row is not None and row.event_id == events[max(order)]
    publications = told(scene, room_id)
    places = [events.index(one.item.event_id) for one in publications if isinstance(one.item, ReceiptItem)]
    assert all(one < two for one, two in itertools.pairwise(places)) and places[-1] == max(order)
    assert [one.position for one in publications] == sorted({one.position for one in publications})
    assert row.position == publications[-1].position


@pytest.mark.parametrize("first", [True, False])
async def test_receipts_at_once_end_at_the_latest(scene: Scene, first: bool) -> None:
    """Several devices of one user report at the same time, also when there was no receipt before."""
    for _ in range(4):
        room_id = await scene.room(members=[BOB])
        events = [await scene.say(ALICE, room_id, f"{n}") for n in range(8)]
        if not first:
            await scene.services.receipts.set(BOB, room_id, {"m.read": events[0]}, None)
        places = (7, 1, 5, 6, 2, 4, 3)
        await asyncio.gather(
            *(scene.services.receipts.set(BOB, room_id, {"m.read": events[place]}, None) for place in places)
        )
        row = await standing(scene, room_id, BOB)
        assert row is not None and row.event_id == events[7]


async def test_fully_read_marker_is_account_data(scene: Scene) -> None:
    """Of the room, told to its user only; it is no receipt."""
    room_id = await scene.room(members=[BOB])
    event_id = await scene.say(ALICE, room_id)
    await scene.services.receipts.set(BOB, room_id, {"m.fully_read": event_id, "m.read": event_id}, None)
    number = (await scene.row(room_id)).number
    content = await scene.read(lambda store: store.account_data.find(BOB, number, "m.fully_read"))
    assert orjson.loads(content or "null") == {"event_id": event_id}
    [marker] = [one for one in scene.published if isinstance(one.item, AccountDataItem) and one.item.room == number]
    assert marker.keys == (user_key(BOB),)
    assert await standing(scene, room_id, BOB, "m.fully_read") is None


async def test_what_is_refused(scene: Scene) -> None:
    """Unknown types, empty threads, markers in threads (400); people who are not in the room (403)."""
    room_id = await scene.room(members=[CAROL])
    event_id = await scene.say(ALICE, room_id)
    receipts = scene.services.receipts
    with pytest.raises(BadRequest):
        await receipts.set(ALICE, room_id, {"m.unknown": event_id}, None)
    with pytest.raises(BadRequest):
        await receipts.set(ALICE, room_id, {"m.read": event_id}, "")
    with pytest.raises(BadRequest):
        await receipts.set(ALICE, room_id, {"m.fully_read": event_id}, "main")
    await scene.services.membership.leave(CAROL, room_id)
    for user_id in (BOB, CAROL):
        with pytest.raises(Forbidden):
            await receipts.set(user_id, room_id, {"m.read": event_id}, None)
    assert told(scene, room_id) == []
