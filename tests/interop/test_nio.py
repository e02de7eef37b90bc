"""matrix-nio, a client library that others wrote, against a real server: what bots and small clients do all day.

https://matrix-nio.readthedocs.io/
"""

import asyncio
import importlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.builders.process import ServerProcess
from tests.builders.waiting import until

nio: Any = importlib.import_module("nio")  # it has no types

PASSWORD = "correct horse"
NUMBERS = itertools.count(1)
HISTORY = 120
# A client that comes back asks at once, and never gives up.
CONFIG = nio.AsyncClientConfig(backoff_factor=0.05, max_timeout_retry_wait_time=0.2, request_timeout=30)
EVERYTHING = {"room": {"timeline": {"limit": 200}}}


@asynccontextmanager
async def user(server: ServerProcess, name: str) -> AsyncIterator[Any]:
    """A client of nio; `register` or `login` it. The name gets a number, since tests share their server."""
    client = nio.AsyncClient(server.url, f"{name}{next(NUMBERS)}", config=CONFIG)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def alice(server: ServerProcess) -> AsyncIterator[Any]:
    """Registered and logged in."""
    async with user(server, "alice") as client:
        ok(await client.register(client.user, PASSWORD, device_name="Alice's desk"), "RegisterResponse")
        yield client


@pytest.fixture
async def bob(server: ServerProcess) -> AsyncIterator[Any]:
    """Registered, and logged in a second time as clients are on the next morning."""
    async with user(server, "bob") as client:
        ok(await client.register(client.user, PASSWORD), "RegisterResponse")
        ok(await client.logout(), "LogoutResponse")
        ok(await client.login(PASSWORD, device_name="Bob's pocket"), "LoginResponse")
        assert ok(await client.whoami(), "WhoamiResponse").user_id == f"@{client.user}:localhost"
        yield client


def ok(response: Any, kind: str) -> Any:
    """`response`, which is of that class of nio and so no error."""
    assert type(response).__name__ == kind, response
    return response


async def synced(client: Any, timeout: int = 0) -> Any:
    """One sync from where the client stands, with every message."""
    return ok(await client.sync(timeout, EVERYTHING), "SyncResponse")


async def meet(alice: Any, bob: Any) -> str:
    """A room of Alice with Bob in it; both have synced. Returns its id."""
    created = ok(await alice.room_create(name="Tea", topic="Earl Grey", invite=[bob.user_id]), "RoomCreateResponse")
    room: str = created.room_id
    await until(lambda: is_invited(bob, room), what="Bob sees the invitation")
    assert bob.invited_rooms[room].inviter == alice.user_id
    ok(await bob.join(room), "JoinResponse")
    for client in (alice, bob):
        await until(partial(knows, client, room, alice, bob), what="each sees both in the room")
    return room


async def is_invited(client: Any, room: str) -> bool:
    await synced(client)
    return room in client.invited_rooms


async def knows(client: Any, room: str, *members: Any) -> bool:
    await synced(client)
    return room in client.rooms and set(client.rooms[room].users) == {member.user_id for member in members}


async def say(client: Any, room: str, text: str) -> str:
    """Returns the event id."""
    content = {"msgtype": "m.text", "body": text}
    event_id: str = ok(await client.room_send(room, "m.room.message", content), "RoomSendResponse").event_id
    return event_id


def texts(response: Any, room: str) -> list[str]:
    """What was said in a room, by one sync."""
    info = response.rooms.join.get(room)
    return [] if info is None else [event.body for event in info.timeline.events if hasattr(event, "body")]


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


async def noted(into: list[Any], *what: Any) -> None:
    into.extend(what)


async def follow(client: Any, condition: Callable[[], bool]) -> None:
    """Syncs until it has seen what makes `condition` true."""

    async def once() -> bool:
        await synced(client, 1_000)
        return condition()

    await until(once)


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
