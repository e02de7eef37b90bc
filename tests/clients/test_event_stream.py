"""GET /events and GET /initialSync: what clients had before /sync, also to look at rooms that they are not in."""

import asyncio
from typing import Any

from homeserver.services.sync import event_stream
from tests.builders.waiting import until
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

WORLD: dict[str, Any] = {
    "preset": "public_chat",
    "initial_state": [{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}],
}
PATIENCE = 60_000


async def events(client: MatrixClient, start: str | None = None, expect: int = 200, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await client.call(
        "GET", v3("events"), query={"from": start, "timeout": 0, **query}, expect=expect
    )
    return answer


async def overview(client: MatrixClient, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await client.call("GET", v3("initialSync"), query=query)
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [event["event_id"] for event in answer["chunk"]]


async def listening(served: Served, key: str) -> None:
    """Somebody waits under `key`."""
    watchers = served.house.streams.notifier._watchers
    await until(lambda: key in watchers, what=f"somebody waits for {key}")


async def test_events_come_in_their_order_over_all_rooms(alice: MatrixClient, bob: MatrixClient) -> None:
    """From a token on, each once; a page's end is the start of the next, and a sync token is as good."""
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in rooms:
        await bob.join(room)
    start = (await bob.sync())["next_batch"]
    sent = [await alice.send(rooms[number % 2], f"{number}") for number in range(4)]
    page = await events(bob, start)
    assert (ids(page), page["start"]) == (sent, start)
    assert [event["room_id"] for event in page["chunk"]] == [*rooms, *rooms]
    assert ids(await events(bob, page["end"])) == []
    await alice.call("PUT", v3("rooms", rooms[0], "typing", alice.user_id), {"typing": True, "timeout": 10_000})
    last = await alice.send(rooms[0], "last")
    assert ids(await events(bob, page["end"])) == [last]


async def test_whoever_was_away_long_misses_nothing(alice: MatrixClient, bob: MatrixClient) -> None:
    """More events than a page holds come in pages, the oldest first."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    start = (await bob.sync())["next_batch"]
    sent = [await alice.send(room, f"{number}") for number in range(event_stream.PAGE + 5)]
    first = await events(bob, start, timeout=PATIENCE)
    second = await events(bob, first["end"])
    assert ids(first) == sent[: event_stream.PAGE]
    assert ids(second) == sent[event_stream.PAGE :]


async def test_listening_waits_for_an_event(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """Without a token from now on; what is no event wakes nobody up for good, a message does, and so does an invite,
    after which the new room is listened to."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    listening_bob = asyncio.ensure_future(events(bob, timeout=PATIENCE))
    await listening(served, f"u{bob.user_id}")
    path = v3("user", bob.user_id, "account_data", "org.example")
    await bob.call("PUT", path, {"a": 1})
    said = await alice.send(room, "hello")
    heard = await listening_bob
    assert ids(heard) == [said]
    other = await alice.create_room()
    listening_bob = asyncio.ensure_future(events(bob, heard["end"], timeout=PATIENCE))
    await listening(served, f"u{bob.user_id}")
    await alice.invite(other, bob.user_id)
    (invite,) = (await listening_bob)["chunk"]
    assert (invite["room_id"], invite["state_key"], invite["content"]["membership"]) == (other, bob.user_id, "invite")


async def test_what_a_listener_may_not_know_is_not_told(alice: MatrixClient, bob: MatrixClient) -> None:
    """Nothing from before joining a room that shows it to members only, nothing after leaving, nobody ignored."""
    hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
    room = await alice.create_room(preset="public_chat", initial_state=[hidden])
    start = (await bob.sync())["next_batch"]
    await alice.send(room, "before")
    await bob.join(room)
    inside = await alice.send(room, "inside")
    await bob.leave(room)
    await alice.send(room, "after")
    told = (await events(bob, start))["chunk"]
    assert [event["type"] for event in told] == ["m.room.member", "m.room.message", "m.room.member"]
    assert told[1]["event_id"] == inside
    await bob.join(room)
    ignore = v3("user", bob.user_id, "account_data", "m.ignored_user_list")
    await bob.call("PUT", ignore, {"ignored_users": {alice.user_id: {}}})
    start = (await bob.sync())["next_batch"]
    await alice.send(room, "ignored")
    assert ids(await events(bob, start)) == []


async def test_looking_into_a_room_of_the_world(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """Whoever is not in it hears its messages, and of no other room; not any more once the room is closed."""
    room, other = await alice.create_room(**WORLD), await alice.create_room(preset="public_chat")
    await bob.join(other)
    start = (await events(bob, room_id=room))["end"]
    peeking = asyncio.ensure_future(events(bob, start, timeout=PATIENCE, room_id=room))
    await listening(served, f"u{bob.user_id}")
    await alice.send(other, "elsewhere")
    said = await alice.send(room, "hello, world")
    heard = await peeking
    assert ids(heard) == [said]
    assert ids(await events(bob, start)) != [said]
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    assert (await events(bob, heard["end"], room_id=room, expect=403))["errcode"] == "M_FORBIDDEN"


async def test_closed_rooms_cannot_be_looked_into(alice: MatrixClient, bob: MatrixClient) -> None:
    """Not without being in it, not after leaving what is said then, not by an invite, and not by a wrong name."""
    room = await alice.create_room()
    await events(bob, room_id=room, expect=403)
    await alice.invite(room, bob.user_id)
    await events(bob, room_id=room, expect=403)
    start = (await bob.sync())["next_batch"]
    await bob.join(room)
    await bob.leave(room)
    await alice.send(room, "secret")
    assert "secret" not in str(await events(bob, start, room_id=room))
    await events(bob, room_id="!nowhere:test.example", expect=403)
    assert (await events(bob, room_id="room", expect=400))["errcode"] == "M_INVALID_PARAM"


async def test_tokens_that_lead_nowhere(alice: MatrixClient) -> None:
    """A token that nobody made, or of another life of the server, or of the future, is refused."""
    token = (await alice.sync())["next_batch"]
    epoch, position, rest = token.split(".")
    for bad in ("x", "", f"other.{position}.{rest}", f"{epoch}.{int(position) + 1000}.{rest}", "h12_0"):
        assert (await events(alice, bad, expect=400))["errcode"] == "M_INVALID_PARAM"


async def test_the_server_stops(served: Served, alice: MatrixClient) -> None:
    """Whoever listens is answered at once."""
    waiting = asyncio.ensure_future(events(alice, timeout=PATIENCE))
    await listening(served, f"u{alice.user_id}")
    served.house.services.sync.stop()
    assert ids(await waiting) == []


async def test_everything_at_a_glance(alice: MatrixClient, bob: MatrixClient) -> None:
    """Joined rooms with messages, state and account data; invites; and, if asked for, rooms that were left."""
    joined = await alice.create_room(preset="public_chat", visibility="public", name="Joined")
    left, invited = await alice.create_room(preset="public_chat"), await alice.create_room()
    for room in (joined, left):
        await bob.join(room)
    await bob.leave(left)
    await alice.invite(invited, bob.user_id)
    sent = [await alice.send(joined, f"{number}") for number in range(3)]
    await bob.call("PUT", v3("user", bob.user_id, "account_data", "org.example"), {"global": True})
    await bob.call("PUT", v3("user", bob.user_id, "rooms", joined, "account_data", "org.example"), {"room": True})
    told = await overview(bob, limit=2)
    assert {event["type"] for event in told["account_data"]} == {"org.example", "m.push_rules"}
    rooms = {room["room_id"]: room for room in told["rooms"]}
    assert {room: about["membership"] for room, about in rooms.items()} == {joined: "join", invited: "invite"}
    about = rooms[joined]
    assert ids(about["messages"]) == sent[1:]
    assert about["visibility"] == "public"
    assert about["account_data"] == [{"type": "org.example", "content": {"room": True}}]
    assert {"m.room.name", "m.room.create", "m.room.member"} <= {event["type"] for event in about["state"]}
    assert rooms[invited]["invite"]["sender"] == alice.user_id
    earlier = await bob.messages(joined, about["messages"]["start"], limit=1)
    assert ids(earlier) == sent[:1]
    archived = {room["room_id"]: room for room in (await overview(bob, archived="true"))["rooms"]}
    assert archived[left]["membership"] == "leave"
    await bob.call("POST", v3("rooms", left, "forget"))
    assert left not in {room["room_id"] for room in (await overview(bob, archived="true"))["rooms"]}
    new = await alice.send(joined, "new")
    assert ids(await events(bob, told["end"])) == [new]


async def test_who_is_online_at_a_glance(alice: MatrixClient, bob: MatrixClient) -> None:
    """Those who share a room with the user."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await alice.call("PUT", v3("presence", alice.user_id, "status"), {"presence": "online"})

    async def told() -> bool:
        present = (await overview(bob))["presence"]
        return any(one["sender"] == alice.user_id and one["type"] == "m.presence" for one in present)

    await until(told, what="Bob is told that Alice is online")


async def test_bounds_of_the_overview(alice: MatrixClient) -> None:
    """What is asked for must be numbers and truth values; a room has at most so many messages."""
    for query in ({"limit": "x"}, {"limit": 0}, {"archived": "maybe"}):
        await alice.call("GET", v3("initialSync"), query=query, expect=400)
    room = await alice.create_room()
    for number in range(101):
        await alice.send(room, f"{number}")
    ((about),) = (await overview(alice, limit=100_000))["rooms"]
    assert len(about["messages"]["chunk"]) == 100
