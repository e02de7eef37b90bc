"""What two servers ask and tell each other besides the life of a room: directory, profiles, presence, ACLs.

https://spec.matrix.org/v1.19/server-server-api/
"""

import asyncio

from tests.builders.people import person, told_ids
from tests.builders.process import free_port
from tests.builders.two import Two
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3

# The version that rooms have unless somebody asks for another.
USUAL = "12"
# A server that nobody reaches.
NOBODY = f"127.0.0.1:{free_port()}"


async def test_asking_the_other_server(two: Two) -> None:
    """Its public rooms and its users' profiles are told to our clients; what it does not have is told as such."""
    alice, bob = two.alice, two.bob
    room = await alice.create_room(
        preset="public_chat", visibility="public", name=f"Roses of {alice.user_id}", topic="Thorns"
    )
    listed = await bob.call("GET", v3("publicRooms"), query={"server": two.here.name, "limit": 500})
    (found,) = [one for one in listed["chunk"] if one["room_id"] == room]
    assert (found["topic"], found["num_joined_members"], found["join_rule"]) == ("Thorns", 1, "public")
    query = {"filter": {"generic_search_term": f"Roses of {alice.user_id}"}}
    searched = await bob.call("POST", v3("publicRooms"), query, query={"server": two.here.name})
    assert [one["room_id"] for one in searched["chunk"]] == [room]
    await alice.call("PUT", v3("profile", alice.user_id, "displayname"), {"displayname": "Alice of the roses"})
    assert (await bob.call("GET", v3("profile", alice.user_id)))["displayname"] == "Alice of the roses"
    assert (await bob.call("GET", v3("profile", alice.user_id, "displayname")))["displayname"] == "Alice of the roses"
    await bob.call("GET", v3("profile", f"@nobody:{two.here.name}"), expect=404)
    await bob.call("GET", v3("directory", "room", f"#nowhere:{two.here.name}"), expect=404)
    await bob.call("POST", v3("join", f"#nowhere:{two.here.name}"), expect=404)
    await bob.call("POST", v3("join", room), query={"via": [two.there.name]}, expect=404)


async def test_presence(two: Two) -> None:
    """Who shares a room is told whether the other is there, and what the other says of it; nobody else may ask."""
    alice, bob, carol = two.alice, two.bob, await person(two.stack, two.here, "carol")
    await two.met(USUAL)

    async def seen(state: str, message: str | None = None) -> None:
        def find() -> bool:
            told = [event["content"] for event in two.alice_ears.presence if event["sender"] == bob.user_id]
            return bool(told) and (told[-1]["presence"], told[-1].get("status_msg")) == (state, message)

        await two.alice_ears.until(find, f"that Bob is {state}")

    await seen("online")
    path = v3("presence", bob.user_id, "status")
    await bob.call("PUT", path, {"presence": "unavailable", "status_msg": "in the garden"})
    await seen("unavailable", "in the garden")
    status = await alice.call("GET", path)
    assert (status["presence"], status["status_msg"]) == ("unavailable", "in the garden")
    await carol.call("GET", path, expect=403)
    await bob.call("PUT", path, {"presence": "offline"})
    await seen("offline")


async def test_an_invite_of_nobody(two: Two) -> None:
    """Who does not exist cannot be invited, and neither can a user of a server that nobody reaches."""
    alice = two.alice
    room = await alice.create_room()
    path = v3("rooms", room, "invite")
    await alice.call("POST", path, {"user_id": f"@nobody:{two.there.name}"}, expect=404)
    refused = await alice.call("POST", path, {"user_id": f"@bob:{NOBODY}"}, expect=502)
    assert refused["errcode"] == "M_UNKNOWN"
    members = (await alice.call("GET", v3("rooms", room, "members")))["chunk"]
    assert [member["state_key"] for member in members] == [alice.user_id]


async def test_a_server_that_a_room_keeps_out(two: Two) -> None:
    """After a server ACL says so, nobody comes in through that server, and nothing that it sends is taken."""
    alice, bob = two.alice, two.bob
    room = await two.met(USUAL)
    heard = await bob.send(room, "Still heard")
    await two.alice_ears.event(room, heard)
    # An ACL names hosts without their ports, and all servers of the tests are on one.
    acl = {"allow": ["*"], "deny": ["127.0.0.1"], "allow_ip_literals": True}
    await two.bob_ears.event(room, await alice.set_state(room, "m.room.server_acl", acl))
    unheard = await bob.send(room, "Not heard")
    await until(lambda: unheard in two.here.log(), what="its refusal is logged")
    await alice.call("GET", v3("rooms", room, "event", unheard), expect=404)
    assert (await told_ids(alice, room))[-2] == heard

    closed = await alice.create_room(
        preset="public_chat", initial_state=[{"type": "m.room.server_acl", "state_key": "", "content": acl}]
    )
    answer = await bob.call("POST", v3("join", closed), query={"via": [two.here.name]}, expect=403)
    assert answer["errcode"] == "M_FORBIDDEN"


async def test_history_that_is_not_for_those_who_come_later(two: Two) -> None:
    """Where only members may read, Bob reads from his own coming on, and his server is not given the words before."""
    alice, bob = two.alice, two.bob
    visibility = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room = await alice.create_room(preset="public_chat", initial_state=[visibility])
    secrets = [await alice.send(room, f"secret words {number}") for number in range(3)]
    await two.rejoin(room)
    said = await alice.send(room, "Welcome")
    await two.bob_ears.event(room, said)
    for way in ("b", "f"):
        read = await told_ids(bob, room, way)
        assert read[-1] == said
        assert not set(secrets) & set(read)
    for secret in secrets:
        await bob.call("GET", v3("rooms", room, "event", secret), expect=404)
    sql = "SELECT event_id FROM events WHERE event_id = ANY(%s) AND (client || wire) LIKE '%%secret words%%'"
    assert not two.there.rows(sql, secrets)
    assert set(secrets) <= set(await told_ids(alice, room))


async def test_lines_cross(two: Two) -> None:
    """Both talk at once: everybody hears all, each once, and each speaker's words in the order of speaking."""
    room = await two.met(USUAL)
    said: dict[str, list[str]] = {}

    async def speak(client: MatrixClient) -> None:
        said[client.user_id] = [await client.send(room, f"line {number}") for number in range(15)]

    async with asyncio.TaskGroup() as group:
        group.create_task(speak(two.alice))
        group.create_task(speak(two.bob))
    for ears in (two.alice_ears, two.bob_ears):
        for event_id in (*said[two.alice.user_id], *said[two.bob.user_id]):
            await ears.event(room, event_id)
        for speaker, lines in said.items():
            heard = [event for event in ears.events[room].values() if event["sender"] == speaker]
            assert [event["event_id"] for event in heard if event["type"] == "m.room.message"] == lines
    await two.agree(room)
