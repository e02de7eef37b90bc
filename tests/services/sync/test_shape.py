"""Filters that ask for some fields of events only, or for events as servers send them to each other.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.domain import hashing
from homeserver.domain.hashing import check_content_hash
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.services.sync.client_model import Client, Json, read_answer
from tests.services.sync.world import World, open_world

ALICE = f"@alice:{SERVER_NAME}"


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with open_world(cluster) as opened:
        yield opened


async def _room(world: World, version: str = "12") -> str:
    return await world.house.create(ALICE, RoomRequest(ROOM_VERSIONS[version], "public_chat", name="a room"))


async def _say(world: World, room: str, txn: str, **content: Any) -> str:
    return await world.house.send.message(ALICE, "D0", room, "m.room.message", txn, content)


async def _part(world: World, client: Client, room: str) -> Json:
    answer = read_answer(await world.house.sync(client.request()))
    client.since = answer["next_batch"]
    part: Json = answer["rooms"]["join"][room]
    return part


async def test_only_the_fields_that_are_asked_for(world: World) -> None:
    """In timelines and states, at once and later; a dot in a name is written with a backslash."""
    room = await _room(world)
    fields = ["type", "content.body", "content.m\\.mentions.user_ids", "unsigned.transaction_id", "no.such.thing"]
    client = Client(ALICE, "D0", {"event_fields": fields, "room": {"timeline": {"limit": 1}}})
    await _say(world, room, "first", body="hello", msgtype="m.text")
    part = await _part(world, client, room)
    assert part["timeline"]["events"] == [
        {"type": "m.room.message", "content": {"body": "hello"}, "unsigned": {"transaction_id": "first"}}
    ]
    assert {"type": "m.room.name"} in part["state"]["events"]
    assert all(set(event) <= {"type", "content"} for event in part["state"]["events"])

    await _say(
        world, room, "second", body="you", msgtype="m.text", **{"m.mentions": {"user_ids": [ALICE], "room": True}}
    )
    part = await _part(world, client, room)
    content = {"body": "you", "m.mentions": {"user_ids": [ALICE]}}
    assert part["timeline"]["events"] == [
        {"type": "m.room.message", "content": content, "unsigned": {"transaction_id": "second"}}
    ]


async def test_no_fields_at_all(world: World) -> None:
    """An empty list asks for events of which nothing is told."""
    room = await _room(world)
    part = await _part(world, Client(ALICE, "D0", {"event_fields": [], "room": {"timeline": {"limit": 2}}}), room)
    assert part["timeline"]["events"] == [{}, {}]


@pytest.mark.parametrize("version", ["1", "6", "12"])
async def test_events_as_servers_send_them(world: World, version: str) -> None:
    """The PDU with all that is signed, in each format of events; and what only this client is told."""
    room = await _room(world, version)
    client = Client(ALICE, "D0", {"event_format": "federation", "room": {"timeline": {"limit": 50}}})
    event_id = await _say(world, room, "txn", body="hello", msgtype="m.text")
    redaction = await world.house.send.redaction(ALICE, "D0", room, event_id, "again", {"reason": "no"})
    kept = await _say(world, room, "kept", body="kept", msgtype="m.text")
    part = await _part(world, client, room)

    events = {event["event_id"]: event for event in part["timeline"]["events"]}
    assert list(events)[-3:] == [event_id, redaction, kept]
    for event in events.values():
        assert {"auth_events", "depth", "hashes", "prev_events", "signatures", "origin_server_ts"} <= event.keys()
        is_create = event["type"] == "m.room.create"
        assert ("room_id" in event) is not (is_create and version == "12")
        if version == "1":
            assert event["event_id"] == event_id or check_content_hash(event)
        else:
            del event["event_id"]
            assert hashing.event_id(ROOM_VERSIONS[version], event) in events
    assert events[kept]["unsigned"]["transaction_id"] == "kept"
    assert events[event_id]["content"] == {}
    assert events[event_id]["unsigned"]["redacted_because"]["event_id"] == redaction
    # The place where the room version has it, and no other.
    assert ("redacts" in events[redaction]) is (version != "12")
    assert ("redacts" in events[redaction]["content"]) is (version == "12")


async def test_fields_of_events_as_servers_send_them(world: World) -> None:
    """Both together."""
    room = await _room(world)
    wants = {"event_format": "federation", "event_fields": ["depth"], "room": {"timeline": {"limit": 1}}}
    part = await _part(world, Client(ALICE, "D0", wants), room)
    assert [set(event) for event in [*part["timeline"]["events"], *part["state"]["events"]]] == [{"depth"}] * (
        1 + len(part["state"]["events"])
    )
