"""matrix-nio, a client library that others wrote, against a real server: what bots and small clients do all day.

https://matrix-nio.readthedocs.io/
"""

import asyncio
from typing import Any

import pytest

from tests.builders.process import ServerProcess
from tests.builders.waiting import until
from tests.interop.nio_people import (
    EVERYTHING,
    follow,
    is_invited,
    knows,
    meet,
    nio,
    noted,
    ok,
    say,
    synced,
    texts,
)

HISTORY = 120


async def test_a_room_as_nio_shows_it(alice: Any, bob: Any) -> None:
    """Invitation, join, talk, state, members, profile and unread counts reach nio's own model of the room."""
    room = await meet(alice, bob)
    shown = bob.rooms[room]
    assert (shown.name, shown.topic, shown.display_name) == ("Tea", "Earl Grey", "Tea")
    assert shown.power_levels.get_user_level(bob.user_id) == 0
    await say(alice, room, "Sugar?")
    assert texts(await synced(bob, 30_000), room) == ["Sugar?"]
    assert bob.rooms[room].unread_notifications == 1
    state = ok(await bob.room_get_state(room), "RoomGetStateResponse").events
    assert {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.name"} <= {
        event["type"] for event in state
    }
    name = ok(await bob.room_get_state_event(room, "m.room.name"), "RoomGetStateEventResponse")
    assert name.content == {"name": "Tea"}
    members = ok(await bob.joined_members(room), "JoinedMembersResponse").members
    assert {member.user_id for member in members} == {alice.user_id, bob.user_id}
    assert ok(await bob.joined_rooms(), "JoinedRoomsResponse").rooms == [room]
    ok(await bob.set_displayname("Robert"), "ProfileSetDisplayNameResponse")
    assert ok(await alice.get_displayname(bob.user_id), "ProfileGetDisplayNameResponse").displayname == "Robert"
    await until(lambda: is_called(alice, room, bob, "Robert"), what="the new name reaches the room")
    ok(await alice.room_put_state(room, "m.room.topic", {"topic": "Assam"}), "RoomPutStateResponse")
    await synced(bob, 30_000)
    assert bob.rooms[room].topic == "Assam"


async def is_called(client: Any, room: str, other: Any, name: str) -> bool:
    await synced(client, 1_000)
    return bool(client.rooms[room].user_name(other.user_id) == name)


async def test_typing_and_receipts(alice: Any, bob: Any) -> None:
    """nio's callbacks tell who types and who has read."""
    room = await meet(alice, bob)
    event_id = await say(alice, room, "Are you there?")
    typing: list[list[str]] = []
    alice.add_ephemeral_callback(lambda _, event: noted(typing, list(event.users)), nio.TypingNoticeEvent)
    read: list[tuple[str, str]] = []
    alice.add_ephemeral_callback(
        lambda _, event: noted(read, *((one.event_id, one.user_id) for one in event.receipts)), nio.ReceiptEvent
    )
    ok(await bob.room_typing(room, True), "RoomTypingResponse")
    await follow(alice, lambda: typing[-1:] == [[bob.user_id]])
    ok(await bob.room_typing(room, False), "RoomTypingResponse")
    await follow(alice, lambda: typing[-1:] == [[]])
    ok(await bob.update_receipt_marker(room, event_id), "UpdateReceiptMarkerResponse")
    await follow(alice, lambda: (event_id, bob.user_id) in read)
    again = await say(alice, room, "Good.")
    ok(await bob.room_read_markers(room, again, again), "RoomReadMarkersResponse")
    await follow(alice, lambda: (again, bob.user_id) in read)
    await follow(bob, lambda: bob.rooms[room].fully_read_marker == again)
    assert bob.rooms[room].unread_notifications == 0


async def test_paging_back(alice: Any, bob: Any) -> None:
    """Of 120 messages nio shows the newest, and pages back to the very first, each once and in order."""
    room = await meet(alice, bob)
    said = [f"line {number}" for number in range(HISTORY)]
    for text in said:
        await say(alice, room, text)
    latest = ok(await bob.sync(30_000, {"room": {"timeline": {"limit": 20}}}), "SyncResponse")
    timeline = latest.rooms.join[room].timeline
    assert timeline.limited
    assert texts(latest, room) == said[-20:]
    back: list[Any] = []
    token, pages = timeline.prev_batch, 0
    while token:
        page = ok(await bob.room_messages(room, token, limit=30), "RoomMessagesResponse")
        back += page.chunk
        token, pages = page.end, pages + 1
        assert pages < HISTORY
    found = [event.body for event in reversed(back) if isinstance(event, nio.RoomMessageText)]
    assert found == said[:-20]
    assert isinstance(back[-1], nio.RoomCreateEvent)
    forwards = ok(
        await bob.room_messages(room, "", direction=nio.MessageDirection.front, limit=100), "RoomMessagesResponse"
    )
    assert [event.event_id for event in forwards.chunk] == [event.event_id for event in reversed(back)][:100]
    middle = next(event for event in back if getattr(event, "body", "") == "line 50")
    context = ok(await bob.room_context(room, middle.event_id, limit=4), "RoomContextResponse")
    assert [event.body for event in context.events_before] == ["line 49", "line 48"]
    assert [event.body for event in context.events_after] == ["line 51", "line 52"]


async def test_redaction(alice: Any, bob: Any) -> None:
    """What is redacted reaches nio as a redacted event, with the reason."""
    room = await meet(alice, bob)
    event_id = await say(alice, room, "Oops")
    redaction = ok(await alice.room_redact(room, event_id, "a slip"), "RoomRedactResponse").event_id
    told = await synced(bob, 30_000)
    assert redaction in [event.event_id for event in told.rooms.join[room].timeline.events]
    event = ok(await bob.room_get_event(room, event_id), "RoomGetEventResponse").event
    assert isinstance(event, nio.RedactedEvent)
    assert (event.redacter, event.reason) == (alice.user_id, "a slip")


async def test_parting(alice: Any, bob: Any) -> None:
    """Leave, kick and ban reach both, each with its reason; an invitation brings back whom nobody has banned."""
    room = await meet(alice, bob)
    ok(await bob.room_leave(room), "RoomLeaveResponse")
    assert await told_to_go(bob, room) == ("leave", None)
    await follow(alice, lambda: set(alice.rooms[room].users) == {alice.user_id})
    ok(await alice.room_invite(room, bob.user_id), "RoomInviteResponse")
    await until(lambda: is_invited(bob, room))
    ok(await bob.join(room), "JoinResponse")
    await until(lambda: knows(bob, room, alice, bob))
    ok(await alice.room_kick(room, bob.user_id, "noise"), "RoomKickResponse")
    assert await told_to_go(bob, room) == ("leave", "noise")
    ok(await alice.room_ban(room, bob.user_id, "more noise"), "RoomBanResponse")
    assert await told_to_go(bob, room) == ("ban", "more noise")
    refused = ok(await alice.room_invite(room, bob.user_id), "RoomInviteError")
    assert refused.status_code == "M_FORBIDDEN"
    assert ok(await bob.join(room), "JoinError").status_code == "M_FORBIDDEN"
    ok(await alice.room_unban(room, bob.user_id), "RoomUnbanResponse")
    ok(await bob.room_forget(room), "RoomForgetResponse")
    assert ok(await bob.joined_rooms(), "JoinedRoomsResponse").rooms == []


async def told_to_go(client: Any, room: str) -> tuple[str, str | None]:
    """Membership and reason of the member event with which the next sync takes the room away."""

    async def once() -> Any:
        return (await synced(client, 1_000)).rooms.leave.get(room)

    info = await until(once, what="the room is taken away")
    # Who is banned after leaving may not see the timeline any more, so the ban comes as state.
    event = [*info.state, *info.timeline.events][-1]
    return event.membership, event.content.get("reason")


@pytest.mark.parametrize("ending", ["SIGTERM", "kill -9", "kill -9 of PostgreSQL too"])
async def test_restart(server: ServerProcess, alice: Any, bob: Any, ending: str) -> None:
    """nio goes on with its old token over a restart of the server, misses nothing and hears nothing twice."""
    room = await meet(alice, bob)
    heard: list[str] = []
    bob.add_event_callback(lambda _, event: noted(heard, event.body), nio.RoomMessageText)
    await say(alice, room, "before")
    await follow(bob, lambda: heard == ["before"])
    token = bob.next_batch
    listening = asyncio.ensure_future(bob.sync_forever(30_000, EVERYTHING, since=token))
    try:
        await until(server.waiting_syncs, what="Bob waits for news")
        said = asyncio.ensure_future(say_all(alice, room, 30))
        await until(lambda: len(heard) > 5, what="some of it is heard")
        if ending == "SIGTERM":
            assert await server.stop() == 0
        else:
            if ending != "kill -9":
                await server.kill9_postgres()
            await server.kill9()
        await server.start()
        await said
        await until(lambda: len(heard) >= 31, what="all of it is heard")
        await say(alice, room, "last")
        await until(lambda: "last" in heard, what="the last one is heard")
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    assert heard == ["before", *(f"line {number}" for number in range(30)), "last"]
    back = ok(await bob.room_messages(room, bob.next_batch, limit=100), "RoomMessagesResponse").chunk
    assert [event.body for event in reversed(back) if hasattr(event, "body")] == heard
    assert ok(await bob.whoami(), "WhoamiResponse").device_id == bob.device_id


async def say_all(client: Any, room: str, count: int) -> None:
    """One after the other; nio repeats, with the same transaction id, what was not answered."""
    for number in range(count):
        await say(client, room, f"line {number}")
