"""After a restart the tail holds again what it held before, as far as rows tell, and nobody's return costs much.

architecture.md, section 6
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import pytest

from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.sync.refill import Refill
from homeserver.streams.publications import (
    AccountDataItem,
    EventItem,
    Item,
    PresenceItem,
    Publication,
    ReceiptItem,
    SessionEnded,
    StateItem,
    TypingItem,
)
from homeserver.streams.tail import Tail
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.services.sync.client_model import Client, Json, read_answer
from tests.services.sync.generator import FORKING_VERBS, REMOTE_VERBS, VERBS, examples, plan
from tests.services.sync.story import Story
from tests.services.sync.world import World, open_world

ALICE, BOB = f"@alice:{SERVER_NAME}", f"@bob:{SERVER_NAME}"
REBUILT = {EventItem, StateItem, ReceiptItem, AccountDataItem, TypingItem, PresenceItem}
# Of no use to a sync: nobody is told of it.
LOST = {SessionEnded}
# What rows do not tell, or tell as it is now.
OTHERWISE: Mapping[str, Any] = {"classes": {}, "named": {}, "summary": None, "redacted": None, "for_all_joined": False}


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with open_world(cluster) as opened:
        yield opened


def test_every_kind_of_publication_is_rebuilt_or_known_to_be_lost() -> None:
    """A new kind must be made again by Refill, or be of no use to who comes back; else the tail must begin after it."""
    assert set(get_args(Item)) == REBUILT | LOST


class Told:
    """What publications say to those who read a key."""

    def __init__(self, publications: Iterable[Publication]) -> None:
        self.events: dict[str, tuple[int, EventItem]] = {}
        self.changes: set[object] = set()
        # At which positions a user's standing in a room may have changed.
        self.standings: set[tuple[str, int, int]] = set()
        self.registers: dict[object, Publication] = {}
        for publication in publications:
            for key in publication.keys:
                self._tell(key, publication)

    def _tell(self, key: str, publication: Publication) -> None:
        position = publication.position
        match publication.item:
            case EventItem() as item if key[0] == "r":
                self.events[item.event_id] = position, item
            case StateItem() as item if key[0] == "r":
                self.changes.add((position, item.room, frozenset(item.keys)))
            case EventItem() | StateItem() as item:
                self.standings.add((key, position, item.room))
            case ReceiptItem() as item:
                self.registers[(key, item.room, item.user_id, item.receipt_type, item.thread_id)] = publication
            case AccountDataItem() as item:
                self.registers[(key, item.room, item.type)] = publication


@pytest.mark.parametrize("verbs", [VERBS, {**VERBS, **REMOTE_VERBS, **FORKING_VERBS}], ids=["here", "forked"])
async def test_the_tail_is_the_same_after_a_restart(world: World, verbs: Mapping[str, int]) -> None:
    """Event by event and change by change, and of registers the newest, whatever happened before."""
    for seed in examples(3):
        floor = world.streams.tail.start
        story = Story(world, seed)
        await story.begin()
        for step in plan(seed, 60, verbs):
            await story.play(step)
        before = Told(one for one in world.streams.tail if one.position > floor)
        await world.restart(in_good_order=True)
        after = Told(one for one in world.streams.tail if one.position > floor)

        assert after.changes == before.changes
        assert after.standings == before.standings
        assert after.registers == before.registers
        assert list(after.events) == list(before.events)
        forked = {item.room for _, item in before.events.values() if not item.for_all_joined}
        redacted = {item.redacted[0] for _, item in before.events.values() if item.redacted is not None}
        for event_id, (position, item) in before.events.items():
            place, again = after.events[event_id]
            assert place == position
            if not redacted & {event_id, item.replaces}:
                assert replace(again, **OTHERWISE) == replace(item, **OTHERWISE)
            assert (again.summary is None, again.redacted) == (item.summary is None, item.redacted)
            assert again.for_all_joined <= item.for_all_joined
            # Where nothing was sent at an older place, it is certain who may see it.
            assert again.for_all_joined or item.room in forked or event_id in redacted


async def test_of_a_room_that_others_wrote_to_the_end_is_certain(world: World) -> None:
    """Where branches were merged, only what came after them is told from memory."""
    room, stranger = await _room(world), "@stranger:remote.example"
    await world.append(room, stranger, "m.room.member", {"membership": "join"}, state_key=stranger)
    start = await _say(world, room, "before")
    await _say(world, room, "meanwhile")
    assert await world.append(room, stranger, "m.room.message", {"body": "late"}, after=[start])
    for body in ("merges", "after", "last"):
        await _say(world, room, body)
    await world.restart(in_good_order=True)

    items = [one.item for one in world.streams.tail if isinstance(one.item, EventItem)]
    certain = [item.client for item in items if item.for_all_joined]
    assert [body in "".join(certain) for body in ("before", "meanwhile", "late", "merges", "after", "last")] == [
        False, False, False, False, True, True
    ]  # fmt: skip


async def _room(world: World) -> str:
    """Alice's room, with Bob."""
    room = await world.house.create(ALICE, RoomRequest(DEFAULT_ROOM_VERSION, "public_chat"))
    await world.house.membership.join(BOB, room)
    return room


async def _say(world: World, room: str, body: str) -> str:
    content = {"body": body, "msgtype": "m.text"}
    return await world.house.send.message(ALICE, "D0", room, "m.room.message", f"txn of {body}", content)


async def _sync(world: World, client: Client) -> Json:
    answer = read_answer(await world.house.sync(client.request()))
    client.hear(answer)
    return answer


def _reads() -> float:
    return REGISTRY.get_sample_value("parley_read_transactions_total") or 0.0


async def test_after_a_restart_in_good_order_a_quiet_client_hears_nothing(world: World) -> None:
    """One read, of who the client is; and none for a second device of the same user."""
    room = await _room(world)
    clients = [Client(BOB, device) for device in ("D0", "D1")]
    await world.house.typing.set(ALICE, room, 30)
    await world.house.typing.set(ALICE, room, 0)
    for client in clients:
        await _sync(world, client)
    await world.restart(in_good_order=True)
    before = _reads()

    for client in clients:
        answer = await _sync(world, client)
        assert set(answer) <= {"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types"}
    assert _reads() == before + 1


@pytest.mark.parametrize("in_good_order", [True, False])
async def test_what_came_between_is_told_from_memory(world: World, in_good_order: bool) -> None:
    """A message, a receipt and account data: read are who the client is, and the counts."""
    room = await _room(world)
    bob = Client(BOB, "D0")
    await _sync(world, bob)
    await world.house.typing.set(ALICE, room, 30)
    await _sync(world, bob)
    assert bob.joined[room].typing == (ALICE,)
    event_id = await _say(world, room, "hello")
    await world.house.receipts.set(ALICE, room, {"m.read": event_id}, None)
    await world.house.receipts.set(BOB, room, {"m.fully_read": event_id}, None)
    await world.restart(in_good_order=in_good_order)
    before = _reads()

    answer = await _sync(world, bob)
    assert _reads() == before + 2
    joined = answer["rooms"]["join"][room]
    assert [event["event_id"] for event in joined["timeline"]["events"]] == [event_id]
    assert bob.joined[room].receipts == {("m.read", ALICE, ""): event_id}
    assert bob.joined[room].typing == ()
    assert bob.joined[room].account_data["m.fully_read"] == {"event_id": event_id}
    assert bob.joined[room].counts == (1, 0)


async def test_after_a_crash_every_room_is_said_to_be_silent_once(world: World) -> None:
    """Nobody knows who typed where: the first answer to an older token tells of all rooms, and the next of none."""
    rooms = [await _room(world) for _ in range(3)]
    bob = Client(BOB, "D0")
    await _sync(world, bob)
    await world.restart(in_good_order=False)

    answer = await _sync(world, bob)
    silence = {"events": [{"type": "m.typing", "content": {"user_ids": []}}]}
    assert {room: part["ephemeral"] for room, part in answer["rooms"]["join"].items()} == dict.fromkeys(rooms, silence)
    assert "rooms" not in await _sync(world, bob)


async def test_a_crash_after_a_restart_in_good_order_is_a_crash(world: World) -> None:
    """What was written down at the end of a process is for the next one only."""
    room = await _room(world)
    bob = Client(BOB, "D0")
    await _sync(world, bob)
    await world.restart(in_good_order=True)
    assert "rooms" not in await _sync(world, bob)
    await world.restart(in_good_order=False)
    assert (await _sync(world, bob))["rooms"]["join"].keys() == {room}


async def _refill(world: World, **bounds: int) -> Tail:
    tail = Tail(world.streams.positions.current())
    await Refill(world.database, tail, world.house.typing, world.house.presence, SERVER_NAME, **bounds)()
    return tail


async def test_what_is_made_again_is_bounded(world: World) -> None:
    """By events, by their bytes and by other rows: the tail then begins after the first that is one too many."""
    room = await _room(world)
    for number in range(20):
        await _say(world, room, str(number) * 500)
        await world.house.receipts.set((ALICE, BOB)[number % 2], room, {"m.read": "$somewhere"}, None)
        await world.house.receipts.set(ALICE, room, {"m.fully_read": f"$fully{number}"}, None)
    whole = list(await _refill(world))
    events = [one for one in whole if isinstance(one.item, EventItem)]

    bounds: list[dict[str, int]] = [{"max_events": 5}, {"max_bytes": 1_700}, {"max_rows": 1}]
    tails = [await _refill(world, **one) for one in bounds]
    for tail in tails:
        assert tail.floor > events[0].position
        assert list(tail) == [one for one in whole if one.position > tail.floor]
    assert tails[0].floor == events[-6].position
    assert tails[1].floor >= events[-4].position
    assert sum(isinstance(one.item, ReceiptItem) for one in tails[2]) == 1


async def test_large_account_data_is_left_to_the_tables(world: World) -> None:
    """What does not fit is not read, and the tail begins after it."""
    room = await _room(world)
    await _say(world, room, "before")
    story = Story(world, 0)
    await story.set_data(ALICE, "org.example.large", {"much": "x" * 10_000})
    await story.set_data(ALICE, "org.example.small", {"little": "x"})
    tail = await _refill(world, max_bytes=5_000)
    assert [one.item.type for one in tail if isinstance(one.item, AccountDataItem)] == ["org.example.small"]
    assert not any(isinstance(one.item, EventItem) for one in tail)
