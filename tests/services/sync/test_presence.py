"""What a sync tells of who is online, and what that costs.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.domain.presence import ABSENT_MS, OFFLINE, ONLINE, RETURN_MS, UNAVAILABLE
from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.accounts.data import AccountData
from homeserver.services.rooms.create import RoomRequest
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, Json, read_answer
from tests.services.sync.world import World, open_world

ALICE, BOB, CAROL = "@alice:test.example", "@bob:test.example", "@carol:test.example"


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with open_world(cluster) as opened:
        yield opened


async def _room(world: World, *others: str) -> str:
    """Alice's public room, which the others have joined."""
    room = await world.house.create(ALICE, RoomRequest(DEFAULT_ROOM_VERSION, "public_chat"))
    for person in others:
        await world.house.membership.join(person, room)
    return room


async def _sync(world: World, client: Client, timeout: float = 0.0, *, full_state: bool = False) -> Json:
    answer = read_answer(await world.house.sync(client.request(timeout, full_state=full_state)))
    client.hear(answer)
    return answer


async def _synced(world: World, user_id: str, **wants: Any) -> Client:
    """A client that knows everything and has a View, and of which everybody else knows."""
    client = Client(user_id, "D0", wants)
    await _sync(world, client)
    await world.house.presence.tick()
    await _sync(world, client)
    await _sync(world, client)
    return client


def _people(answer: Json) -> dict[str, str]:
    events = answer.get("presence", {}).get("events", [])
    assert all(event["type"] == "m.presence" for event in events)
    return {event["sender"]: event["content"]["presence"] for event in events}


def _statements() -> float:
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


async def test_who_comes_online_is_told_to_a_live_client_from_memory(world: World) -> None:
    """No statement is sent for it, and its client waits no longer; afterwards it is quiet again."""
    await _room(world, BOB)
    bob = await _synced(world, BOB)
    waiting = asyncio.create_task(_sync(world, bob, 60.0))
    await world.house.presence.set(ALICE, "D0", ONLINE, "here")
    before = _statements()
    told = await waiting
    assert "rooms" not in told
    [event] = told["presence"]["events"]
    assert event["content"].keys() == {"presence", "currently_active", "status_msg", "last_active_ago"}
    assert (event["sender"], event["content"]["status_msg"]) == (ALICE, "here")
    assert "presence" not in await _sync(world, bob)
    assert _statements() == before


async def test_a_first_sync_tells_who_is_there(world: World) -> None:
    """Not of those who are offline; one with `full_state` too."""
    await _room(world, BOB, CAROL)
    await world.house.presence.set(ALICE, "D0", UNAVAILABLE, None)
    for presence in (ONLINE, OFFLINE):
        await world.house.presence.set(CAROL, "D0", presence, None)
    bob = Client(BOB, "D0")
    assert _people(await _sync(world, bob)) == {ALICE: UNAVAILABLE}
    assert _people(await _sync(world, bob)) == {}
    assert _people(await _sync(world, bob, full_state=True)) == {ALICE: UNAVAILABLE}


async def test_whoever_comes_back_is_told_of_what_changed(world: World) -> None:
    """The last of it, from the tables as from memory; also after a restart."""
    await _room(world, BOB, CAROL)
    for person in (ALICE, CAROL):
        await world.house.presence.set(person, "D0", ONLINE, None)
    bob = Client(BOB, "D0")
    await _sync(world, bob)
    for presence in (UNAVAILABLE, ONLINE, OFFLINE):
        await world.house.presence.set(ALICE, "D0", presence, None)
    absent = bob.twin()
    world.house.sync.drop_views()
    world.streams.tail.forget_all()
    assert _people(await _sync(world, bob)) == {ALICE: OFFLINE}
    await world.restart(in_good_order=False)
    assert _people(await _sync(world, absent)) == {ALICE: OFFLINE}
    world.clock.skip(RETURN_MS)
    await world.house.presence.tick()
    assert _people(await _sync(world, absent)) == {CAROL: OFFLINE}
    assert _people(await _sync(world, absent)) == {}


async def test_whoever_joins_is_told_who_is_there(world: World) -> None:
    """And the others are told of the new one."""
    room = await _room(world, CAROL)
    alice = await _synced(world, ALICE)
    await world.house.presence.set(CAROL, "D0", ONLINE, None)
    bob = await _synced(world, BOB)
    assert bob.presence == {}
    await _sync(world, alice)
    await world.house.membership.join(BOB, room)
    assert _people(await _sync(world, bob)) == {ALICE: ONLINE, CAROL: ONLINE}
    await world.house.presence.tick()
    assert _people(await _sync(world, alice)) == {BOB: ONLINE}


async def test_strangers_are_told_of_nobody(world: World) -> None:
    """Who shares no room; and who left."""
    room = await _room(world, CAROL)
    bob, carol = await _synced(world, BOB), await _synced(world, CAROL)
    await world.house.membership.leave(CAROL, room)
    await _sync(world, carol)
    await world.house.presence.set(ALICE, "D0", ONLINE, None)
    assert _people(await _sync(world, bob)) == _people(await _sync(world, carol)) == {}
    assert _people(await _sync(world, bob.fresh())) == {}


async def test_ignored_users_are_hidden(world: World) -> None:
    """By memory and by tables; whoever is not ignored any more is told of again."""
    await _room(world, BOB)
    ignore = AccountData(world.database).set
    await ignore(BOB, "m.ignored_user_list", {"ignored_users": {ALICE: {}}})
    bob = await _synced(world, BOB)
    await world.house.presence.set(ALICE, "D0", ONLINE, None)
    assert _people(await _sync(world, bob)) == {}
    assert _people(await _sync(world, bob.fresh())) == {BOB: ONLINE}
    await ignore(BOB, "m.ignored_user_list", {"ignored_users": {}})
    assert _people(await _sync(world, bob))[ALICE] == ONLINE


@pytest.mark.parametrize(
    ("wants", "told"),
    [
        ({"types": ["m.presence"]}, {ALICE, CAROL}),
        ({"types": []}, set()),
        ({"not_types": ["*"]}, set()),
        ({"senders": [ALICE]}, {ALICE}),
        ({"not_senders": [ALICE]}, {CAROL}),
    ],
)
async def test_the_filter_chooses(world: World, wants: dict[str, Any], told: set[str]) -> None:
    """In a first sync as in a live one."""
    await _room(world, BOB, CAROL)
    bob = await _synced(world, BOB, presence=wants)
    for person in (ALICE, CAROL):
        await world.house.presence.set(person, "D0", ONLINE, None)
    assert _people(await _sync(world, bob)).keys() == told
    assert _people(await _sync(world, bob.fresh())).keys() - {BOB} == told


async def test_a_waiting_sync_keeps_its_user_online(world: World) -> None:
    """Also one that was cut off, for a while."""
    await _room(world, BOB)
    alice, bob = await _synced(world, ALICE), await _synced(world, BOB)
    waiting = asyncio.create_task(_sync(world, alice, 600.0))
    await world.database.settle()
    world.clock.skip(2 * ABSENT_MS)
    await world.house.presence.tick()
    assert (await world.house.presence.get(BOB, ALICE))["presence"] == ONLINE
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (await world.house.presence.get(BOB, ALICE))["presence"] == ONLINE
    world.clock.skip(ABSENT_MS)
    await world.house.presence.tick()
    assert _people(await _sync(world, bob))[ALICE] == OFFLINE
