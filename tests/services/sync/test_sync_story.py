"""What single people see of a room through /sync, told as short stories, and what it costs.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from homeserver.domain.filters import EventFilter
from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.accounts.data import AccountData
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.rooms.pages import PageRequest
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, Json, read_answer
from tests.services.sync.world import World, open_world

ALICE, BOB, CAROL = "@alice:test.example", "@bob:test.example", "@carol:test.example"


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with open_world(cluster) as opened:
        yield opened


async def _room(world: World, *others: str, visibility: str = "shared") -> str:
    """Alice's public room, which the others have joined."""
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
    room = await world.house.create(ALICE, RoomRequest(DEFAULT_ROOM_VERSION, "public_chat", initial_state=state))
    for person in others:
        await world.house.membership.join(person, room)
    return room


_txns = iter(range(1_000_000))


async def _say(world: World, sender: str, room: str, body: str, **more: Any) -> str:
    content = {"body": body, "msgtype": "m.text", **more}
    return await world.house.send.message(sender, "D0", room, "m.room.message", f"t{next(_txns)}", content)


async def _sync(world: World, client: Client, timeout: float = 0.0) -> Json:
    answer = read_answer(await world.house.sync(client.request(timeout)))
    client.hear(answer)
    return answer


async def _synced(world: World, user_id: str, device_id: str = "D0", **wants: Any) -> Client:
    """A client that knows everything and has a View."""
    client = Client(user_id, device_id, wants)
    await _sync(world, client)
    await _sync(world, client)
    return client


def _bodies(events: list[Json]) -> list[str]:
    return [event["content"]["body"] for event in events if "body" in event["content"]]


def _joined(answer: Json, room: str) -> Json:
    part: Json = answer["rooms"]["join"][room]
    return part


async def _settled(world: World) -> float:
    """Statements so far, when nothing goes on behind the scenes."""
    await world.database.settle()
    return _statements()


def _statements() -> float:
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


async def _ignore(world: World, user_id: str, *others: str) -> None:
    ignored: Mapping[str, Any] = {"ignored_users": {other: {} for other in others}}
    await AccountData(world.database).set(user_id, "m.ignored_user_list", ignored)


async def test_live_client_is_answered_without_a_statement(world: World) -> None:
    """A message, its echo, a receipt, typing, and nothing at all: the View and the tail know."""
    room = await _room(world, BOB)
    bob, alice = await _synced(world, BOB), await _synced(world, ALICE)
    await _say(world, ALICE, room, "the first count is read from the tables")
    await _sync(world, bob)
    await _sync(world, alice)
    event_id = await _say(world, ALICE, room, "hello")
    before = await _settled(world)

    heard, echoed = await _sync(world, bob), await _sync(world, alice)
    await _sync(world, bob)

    assert _statements() == before
    assert _bodies(_joined(heard, room)["timeline"]["events"]) == ["hello"]
    assert bob.joined[room].counts == (2, 0)
    assert "transaction_id" in _joined(echoed, room)["timeline"]["events"][0]["unsigned"]
    await world.house.receipts.set(BOB, room, {"m.read": event_id}, None)
    await world.house.typing.set(ALICE, room, 30)
    before = await _settled(world)
    await _sync(world, bob)
    assert _statements() == before
    assert bob.joined[room].typing == (ALICE,)
    assert bob.joined[room].counts == (0, 0)


async def test_plain_send_takes_at_most_eight_statements(world: World) -> None:
    """BEGIN and COMMIT included, however many members the room has."""
    room = await _room(world, BOB, CAROL)
    await _say(world, ALICE, room, "warm")
    before = await _settled(world)
    await _say(world, ALICE, room, "hello")

    assert _statements() - before <= 8


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_gap_is_told_and_prev_batch_leads_into_it(world: World, limit: int) -> None:
    """More messages than the filter wants: the newest ones, limited, and the others by paging back. Of a client that
    was away for a while memory knows that too."""
    room = await _room(world, BOB)
    bob = await _synced(world, BOB, room={"timeline": {"limit": limit}})
    await _say(world, ALICE, room, "the first count is read from the tables")
    await _sync(world, bob)
    for number in range(7):
        await _say(world, ALICE, room, str(number))
    before = await _settled(world)

    timeline = _joined(await _sync(world, bob), room)["timeline"]

    assert _statements() == before
    assert bob.joined[room].counts == (8, 0)

    assert timeline["limited"]
    assert _bodies(timeline["events"]) == [str(number) for number in range(7 - limit, 7)]
    request = PageRequest(room, timeline["prev_batch"], None, True, 7 - limit, EventFilter())
    page = read_answer(await world.house.history.page(BOB, "D0", request))
    assert _bodies(page["chunk"]) == [str(number) for number in reversed(range(7 - limit))]


async def test_lost_answer_is_given_again(world: World) -> None:
    """The same `since` gets what it got before, and what came since."""
    room = await _room(world, BOB)
    bob = await _synced(world, BOB)
    await _say(world, ALICE, room, "one")
    await world.house.sync(bob.request())
    await _say(world, ALICE, room, "two")

    assert _bodies(_joined(await _sync(world, bob), room)["timeline"]["events"]) == ["one", "two"]


async def test_two_waiting_connections_of_one_device_both_hear(world: World) -> None:
    """Neither ends the other; each goes on from its own token."""
    room = await _room(world, BOB)
    first = await _synced(world, BOB)
    second = first.twin()
    waiting = [asyncio.create_task(_sync(world, client, 60.0)) for client in (first, second)]
    await world.database.settle()
    await _say(world, ALICE, room, "hello")

    for answer in await asyncio.gather(*waiting):
        assert _bodies(_joined(answer, room)["timeline"]["events"]) == ["hello"]
    await _say(world, ALICE, room, "again")
    for client in (first, second):
        assert _bodies(_joined(await _sync(world, client), room)["timeline"]["events"]) == ["again"]


async def test_cancelled_request_leaves_the_view_as_it_was(world: World) -> None:
    """A client that hangs up while it waits, and comes back, misses nothing."""
    room = await _room(world, BOB)
    bob = await _synced(world, BOB)
    waiting = asyncio.create_task(world.house.sync(bob.request(60.0)))
    await world.database.read(lambda store: store.rooms.get(room))
    waiting.cancel()
    await asyncio.wait([waiting])
    await _say(world, ALICE, room, "hello")

    assert _bodies(_joined(await _sync(world, bob), room)["timeline"]["events"]) == ["hello"]


async def test_leaving_and_forgetting_is_told_to_the_other_device(world: World) -> None:
    """Of a forgotten room, only that it is gone."""
    room = await _room(world, BOB)
    phone = await _synced(world, BOB, "D1")
    await _say(world, ALICE, room, "last words")
    await world.house.membership.leave(BOB, room)
    await world.house.membership.forget(BOB, room)

    answer = await _sync(world, phone)

    left = answer["rooms"]["leave"][room]
    assert left["timeline"]["events"] == []
    assert [event["content"]["membership"] for event in left["state"]["events"]] == ["leave"]


async def test_ban_after_leaving_tells_nothing_of_what_happened_between(world: World) -> None:
    """Bob left; what Alice did then is none of his business, though he hears of his ban."""
    room = await _room(world, BOB)
    await world.house.membership.leave(BOB, room)
    bob = await _synced(world, BOB)
    await world.house.send.state(ALICE, room, "m.room.topic", "", {"topic": "a secret"})
    await _say(world, ALICE, room, "another secret")
    await world.house.membership.ban(ALICE, room, BOB)

    left = (await _sync(world, bob))["rooms"]["leave"][room]

    assert left["timeline"]["events"] == []
    assert [event["content"]["membership"] for event in left["state"]["events"]] == ["ban"]


async def test_declined_invite_tells_nothing_of_the_room(world: World) -> None:
    """Whoever was never inside hears of the own leave only."""
    room = await _room(world)
    await world.house.membership.invite(ALICE, room, BOB)
    bob = await _synced(world, BOB)
    await world.house.send.state(ALICE, room, "m.room.topic", "", {"topic": "a secret"})
    await world.house.membership.leave(BOB, room)

    left = (await _sync(world, bob))["rooms"]["leave"][room]

    told = [*left["timeline"]["events"], *left["state"]["events"]]
    assert [(event["type"], event["state_key"]) for event in told] == [("m.room.member", BOB)]


async def test_stay_that_began_and_ended_between_two_syncs_is_told_whole(world: World) -> None:
    """The room is new to the client: its state comes with it, as of the leaving."""
    room = await _room(world)
    bob = await _synced(world, BOB)
    await world.house.membership.join(BOB, room)
    await world.house.membership.leave(BOB, room)
    await world.house.send.state(ALICE, room, "m.room.topic", "", {"topic": "a secret"})

    await _sync(world, bob)

    types = {type for type, _ in bob.left[room].state}
    assert {"m.room.create", "m.room.power_levels"} <= types
    assert "m.room.topic" not in types


async def test_room_data_set_before_joining_comes_with_the_room(world: World) -> None:
    """A tag that another device gave an invite."""
    room = await _room(world)
    await AccountData(world.database).set(BOB, "m.tag", {"tags": {"m.favourite": {}}}, room)
    bob = await _synced(world, BOB)
    await world.house.membership.join(BOB, room)

    await _sync(world, bob)

    assert bob.joined[room].account_data == {"m.tag": {"tags": {"m.favourite": {}}}}


async def test_state_that_changed_unseen_is_not_undone_by_the_timeline(world: World) -> None:
    """Carol left while Bob was away and could not see it: her older join must not be the last that he is told."""
    room = await _room(world, BOB, visibility="joined")
    await world.house.membership.join(CAROL, room)
    await world.house.membership.leave(BOB, room)
    await world.house.membership.leave(CAROL, room)
    bob = await _synced(world, BOB, room={"timeline": {"limit": 50}})
    await world.house.membership.join(BOB, room)

    await _sync(world, bob)

    assert bob.joined[room].state[("m.room.member", CAROL)]["content"]["membership"] == "leave"


async def test_ignored_sender_is_neither_told_nor_counted(world: World) -> None:
    """By memory and by tables; state events are told all the same."""
    room = await _room(world, BOB, CAROL)
    await _ignore(world, BOB, CAROL)
    bob = await _synced(world, BOB)
    await _say(world, ALICE, room, "hello")
    await _say(world, CAROL, room, "ignored")
    await _say(world, ALICE, room, "again")

    live = _joined(await _sync(world, bob), room)

    assert _bodies(live["timeline"]["events"]) == ["hello", "again"]
    fresh = bob.fresh()
    await _sync(world, fresh)
    assert bob.joined[room].counts == fresh.joined[room].counts == (2, 0)
    await _say(world, CAROL, room, "ignored again")
    await _sync(world, bob)
    await _say(world, ALICE, room, "the third")
    await _sync(world, bob)
    assert bob.joined[room].counts == (3, 0)


async def test_invite_by_an_ignored_user_tells_only_that_the_room_was_left(world: World) -> None:
    """Bob left, and Carol, whom he ignores, wants him back."""
    room = await _room(world, BOB, CAROL)
    await _ignore(world, BOB, CAROL)
    bob = await _synced(world, BOB)
    await world.house.membership.leave(BOB, room)
    await world.house.membership.invite(CAROL, room, BOB)

    answer = await _sync(world, bob)

    assert list(answer["rooms"]) == ["leave"]
    assert room in bob.left


async def test_redacted_content_is_not_told_from_memory(world: World) -> None:
    """Neither as the event itself nor as what stood there before another."""
    room = await _room(world, BOB)
    bob = await _synced(world, BOB)
    first = await world.house.send.state(ALICE, room, "m.room.topic", "", {"topic": "a slip"})
    await world.house.send.state(ALICE, room, "m.room.topic", "", {"topic": "fine"})
    message = await _say(world, ALICE, room, "another slip")
    for target in (first, message):
        await world.house.send.redaction(ALICE, "D0", room, target, f"r{target}", {})

    raw = await world.house.sync(bob.request())

    assert b"slip" not in raw
    assert b"fine" in raw


async def test_lazy_client_is_told_of_whoever_speaks(world: World) -> None:
    """Only then, and also if the member event is older than the gap."""
    room = await _room(world, BOB, CAROL)
    limits = {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}
    bob = await _synced(world, BOB, room=limits)
    for number in range(3):
        await _say(world, CAROL, room, str(number))

    state = _joined(await _sync(world, bob), room)["state"]["events"]

    assert [event["state_key"] for event in state if event["type"] == "m.room.member"] == [CAROL]


async def test_lazy_client_is_live_once_it_knows_who_speaks(world: World) -> None:
    """The first message of Carol brings her member event; the second comes from memory."""
    room = await _room(world, BOB, CAROL)
    bob = await _synced(world, BOB, room={"timeline": {"limit": 5}, "state": {"lazy_load_members": True}})
    for number in range(10):
        await _say(world, ALICE, room, str(number))
    await _sync(world, bob)
    await _say(world, CAROL, room, "hello")
    first = _joined(await _sync(world, bob), room)
    await _say(world, CAROL, room, "counted")
    await _sync(world, bob)
    await _say(world, CAROL, room, "again")
    before = await _settled(world)

    second = _joined(await _sync(world, bob), room)

    assert _statements() == before
    assert [event["state_key"] for event in first["state"]["events"]] == [CAROL]
    assert (_bodies(second["timeline"]["events"]), second["state"]["events"]) == (["again"], [])


async def test_state_after_follows_a_merge_that_the_timeline_does_not_tell(world: World) -> None:
    """A late topic that loses stands in the timeline; the state after it does not have it."""
    stranger = "@stranger:remote.example"
    room = await _room(world, BOB)
    await world.append(room, stranger, "m.room.member", {"membership": "join"}, state_key=stranger)
    levels = orjson.loads(await world.house.state.get(ALICE, room, "m.room.power_levels", ""))
    levels["users"] = {stranger: 50}
    await world.house.send.state(ALICE, room, "m.room.power_levels", "", levels)
    fork = world.logs[room].ids[-1]
    bob = Client(BOB, "D0", use_state_after=True)
    await _sync(world, bob)
    await _sync(world, bob)
    await world.append(room, stranger, "m.room.topic", {"topic": "late"}, state_key="", after=[fork])
    await world.house.send.state(ALICE, room, "m.room.topic", "", {"topic": "now"})
    await _sync(world, bob)

    current = orjson.loads(await world.house.state.get(BOB, room, "m.room.topic", ""))

    assert bob.joined[room].state[("m.room.topic", "")]["content"] == current


async def test_sync_ends_when_the_server_stops(world: World) -> None:
    """Whoever waits is answered, and keeps the token."""
    await _room(world, BOB)
    bob = await _synced(world, BOB)
    waiting = asyncio.create_task(_sync(world, bob, 60.0))
    await world.database.settle()
    world.house.sync.stop()

    answer = await waiting

    assert "rooms" not in answer
