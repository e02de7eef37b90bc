"""Two people of two servers in one room, over TLS, as their clients see it, in every room version.

Alice is here and Bob is there. Each story has people and rooms of its own, on servers that all stories share. Every
answer is checked against the spec by the client. https://spec.matrix.org/v1.19/server-server-api/
"""

import pytest

from tests.builders.people import event_of, person, told_ids
from tests.builders.process import free_port
from tests.builders.two import Two
from tests.conformance.client import MatrixClient, v3

VERSIONS = [str(number) for number in range(1, 13)]
in_every_version = pytest.mark.parametrize("version", VERSIONS)
NOTHING = {"notification_count": 0, "highlight_count": 0}
PRIVATE = "m.read.private"
# A server that nobody reaches.
NOBODY = f"127.0.0.1:{free_port()}"
TEXT = {"msgtype": "m.text", "body": "Hey"}


# -- one life of a room


@in_every_version
async def test_two_people_of_two_servers(two: Two, version: str) -> None:
    """They meet by an invite, talk, see each other type and read, take back, rename themselves, and read it all."""
    room = await meet(two, version)
    await talk(two, room)
    await type_and_read(two, room)
    await edit_and_take_back(two, room)
    await rename(two, room)
    await two.agree(room)
    await read_back(two, room)


async def meet(two: Two, version: str) -> str:
    """Bob is shown what he is invited to before he comes in."""
    alice, bob = two.alice, two.bob
    room = await alice.create_room(name="The garden", preset="private_chat", room_version=version)
    for number in range(12):
        await alice.send(room, f"Before Bob {number}")
    await alice.invite(room, bob.user_id, reason="come in")
    told = await two.bob_ears.invited(room)
    assert told["m.room.name", ""]["content"] == {"name": "The garden"}
    assert told["m.room.create", ""]["content"]["room_version"] == version
    assert told["m.room.join_rules", ""]["content"]["join_rule"] == "invite"
    invite = told["m.room.member", bob.user_id]
    assert (invite["sender"], invite["content"]["membership"]) == (alice.user_id, "invite")
    assert invite["content"]["reason"] == "come in"
    assert await bob.join(room) == room
    await two.bob_ears.stands(room, "join")
    await two.alice_ears.member(room, bob.user_id, "join")
    await two.agree(room)
    return room


async def talk(two: Two, room: str) -> None:
    """What one says the other hears; it counts as unread and, where it names the other, as a highlight."""
    alice, bob = two.alice, two.bob
    said = await alice.send(room, "Hello, Bob")
    heard = await two.bob_ears.event(room, said)
    assert (heard["sender"], heard["content"]["body"]) == (alice.user_id, "Hello, Bob")
    assert two.bob_ears.counts[room] == {"notification_count": 1, "highlight_count": 0}
    named = {"msgtype": "m.text", "body": "You, Bob!", "m.mentions": {"user_ids": [bob.user_id]}}
    await two.bob_ears.event(room, await alice.send(room, named))
    assert two.bob_ears.counts[room] == {"notification_count": 2, "highlight_count": 1}
    answered = await bob.send(room, "Hello, Alice")
    assert (await two.alice_ears.event(room, answered))["content"]["body"] == "Hello, Alice"
    assert two.alice_ears.counts[room]["notification_count"] == 1


async def type_and_read(two: Two, room: str) -> None:
    """Typing and public receipts are told to the other server; private ones never."""
    alice, bob = two.alice, two.bob
    await type_(alice, room, True)
    await two.bob_ears.typing(room, alice.user_id)
    await type_(bob, room, True)
    await two.alice_ears.typing(room, alice.user_id, bob.user_id)
    await type_(alice, room, False)
    await two.bob_ears.typing(room, bob.user_id)
    secret, last = await alice.send(room, "Read in secret"), await alice.send(room, "Read in public")
    await two.bob_ears.event(room, last)
    await read(bob, room, secret, PRIVATE)
    await read(bob, room, last)
    # A receipt may wait for company for some seconds; an event takes it along.
    await bob.send(room, "I have read it")
    await two.alice_ears.read(room, last, bob.user_id)
    assert not [receipt for receipt in two.alice_ears.receipts(room) if receipt[0] == secret or receipt[1] == PRIVATE]
    await two.bob_ears.until(lambda: two.bob_ears.counts[room] == NOTHING, "that nothing is unread")


async def type_(client: MatrixClient, room: str, typing: bool) -> None:
    body = {"typing": typing, "timeout": 30_000} if typing else {"typing": False}
    await client.call("PUT", v3("rooms", room, "typing", client.user_id), body)


async def read(client: MatrixClient, room: str, event_id: str, kind: str = "m.read") -> None:
    await client.call("POST", v3("rooms", room, "receipt", kind, event_id))


async def edit_and_take_back(two: Two, room: str) -> None:
    """An edit of one replaces the text for the other; a redaction by the one with power empties the other's event."""
    alice, bob = two.alice, two.bob
    typo = await bob.send(room, "Goof morning")
    new = {"msgtype": "m.text", "body": "Good morning"}
    replaces = {"rel_type": "m.replace", "event_id": typo}
    edit = await bob.send(room, {**new, "body": "* Good morning", "m.new_content": new, "m.relates_to": replaces})
    await two.alice_ears.event(room, edit)
    edited = await event_of(alice, room, typo)
    assert edited["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    regretted = await bob.send(room, "I regret this")
    await two.alice_ears.event(room, regretted)
    path = v3("rooms", room, "redact", regretted, "r1")
    redaction = (await alice.call("PUT", path, {"reason": "peace"}))["event_id"]
    assert (await two.bob_ears.event(room, redaction))["content"].get("reason") == "peace"
    for client in (alice, bob):
        event = await event_of(client, room, regretted)
        assert event["content"] == {}
        assert event["unsigned"]["redacted_because"]["event_id"] == redaction


async def rename(two: Two, room: str) -> None:
    """A new name is seen in the room and in the profile that the other server is asked for."""
    bob = two.bob
    await bob.call("PUT", v3("profile", bob.user_id, "displayname"), {"displayname": "Robert"})

    def renamed() -> bool:
        events = two.alice_ears.events[room].values()
        return any(event["content"].get("displayname") == "Robert" for event in events)

    await two.alice_ears.until(renamed, "Bob's new name")
    members = (await two.alice.call("GET", v3("rooms", room, "joined_members")))["joined"]
    assert members[bob.user_id]["display_name"] == "Robert"
    assert (await two.alice.call("GET", v3("profile", bob.user_id)))["displayname"] == "Robert"


async def read_back(two: Two, room: str) -> None:
    """Paging back leads both through the same history to the beginning, also from before Bob came."""
    ours = await told_ids(two.alice, room)
    theirs = await told_ids(two.bob, room)
    assert len(set(ours)) == len(ours)
    assert theirs == ours
    assert (await event_of(two.bob, room, theirs[0]))["type"] == "m.room.create"
    for client in (two.alice, two.bob):
        assert await told_ids(client, room, "f") == ours
    assert set(two.bob_ears.events[room]) <= set(ours)


@in_every_version
async def test_parting_and_coming_back(two: Two, version: str) -> None:
    """Who leaves, is kicked or is banned is told so over there, is kept out, and misses nothing after coming back."""
    alice, bob = two.alice, two.bob
    room = await two.met(version)
    await bob.leave(room, reason="tired")
    assert (await two.alice_ears.member(room, bob.user_id, "leave"))["content"]["reason"] == "tired"
    await two.bob_ears.stands(room, "leave")
    unheard = await alice.send(room, "Bob is away")

    await two.rejoin(room)
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": bob.user_id, "reason": "noise"})
    kick = await two.bob_ears.member(room, bob.user_id, "leave")
    await two.bob_ears.stands(room, "leave")
    assert (kick["sender"], kick["content"]["reason"]) == (alice.user_id, "noise")
    await bob.call("PUT", v3("rooms", room, "send", "m.room.message", "late"), TEXT, expect=403)

    await two.rejoin(room)
    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": bob.user_id})
    await two.bob_ears.member(room, bob.user_id, "ban")
    await bob.call("POST", v3("join", room), query={"via": [two.here.name]}, expect=403)
    await alice.call("POST", v3("rooms", room, "invite"), {"user_id": bob.user_id}, expect=403)

    await alice.call("POST", v3("rooms", room, "unban"), {"user_id": bob.user_id})
    await two.rejoin(room)
    assert (await two.alice_ears.event(room, await bob.send(room, "Back again")))["sender"] == bob.user_id
    assert (await two.bob_ears.event(room, await alice.send(room, "Welcome")))["sender"] == alice.user_id
    await two.agree(room)
    assert unheard not in two.bob_ears.events[room]
    ours = await told_ids(alice, room)
    assert await told_ids(bob, room) == ours
    assert unheard in ours


# -- ways in, and ways not to come in


@in_every_version
async def test_ways_into_a_room(two: Two, version: str) -> None:
    """By its id and a server that is in it; by the other server's alias; and by an invite to a direct chat."""
    alice, bob, carol = two.alice, two.bob, await person(two.stack, two.there, "carol")
    name = f"garden{version}-{alice.user_id[1:].partition(':')[0]}"
    room = await alice.create_room(preset="public_chat", room_version=version, room_alias_name=name)
    alias = f"#{name}:{two.here.name}"
    found = await bob.call("GET", v3("directory", "room", alias))
    assert found["room_id"] == room
    assert two.here.name in found["servers"]
    assert await bob.join(alias) == room
    assert await bob.join(alias) == room
    # Nobody needs to be asked any more.
    assert await carol.join(room) == room
    await two.alice_ears.member(room, carol.user_id, "join")
    await bob.leave(room)
    await carol.leave(room)
    await two.alice_ears.member(room, carol.user_id, "leave")
    assert await bob.join(room, via=[two.there.name, NOBODY, two.here.name]) == room

    direct = await alice.create_room(
        preset="trusted_private_chat", room_version=version, invite=[bob.user_id], is_direct=True
    )
    told = await two.bob_ears.invited(direct)
    assert told["m.room.member", bob.user_id]["content"]["is_direct"] is True
    assert await bob.join(direct) == direct
    await two.bob_ears.event(direct, await alice.send(direct, "Just us"))
    # Both have the same power here.
    await two.alice_ears.event(direct, await bob.set_state(direct, "m.room.topic", {"topic": "Us"}))


@in_every_version
async def test_invites_that_come_to_nothing(two: Two, version: str) -> None:
    """One is rejected by Bob, whose server is not in the room; one is taken back by Alice; both hear of it."""
    alice, bob = two.alice, two.bob
    room = await alice.create_room(preset="private_chat", room_version=version, invite=[bob.user_id])
    await two.bob_ears.invited(room)
    await bob.leave(room, reason="no, thanks")
    rejected = await two.alice_ears.member(room, bob.user_id, "leave")
    assert (rejected["sender"], rejected["content"].get("reason")) == (bob.user_id, "no, thanks")
    await two.bob_ears.stands(room, "leave")
    await bob.call("POST", v3("join", room), query={"via": [two.here.name]}, expect=403)

    await alice.invite(room, bob.user_id)
    await two.bob_ears.stands(room, "invite")
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": bob.user_id})
    await two.bob_ears.stands(room, "leave")
    await bob.call("POST", v3("join", room), query={"via": [two.here.name]}, expect=403)

    await alice.invite(room, bob.user_id)
    await two.bob_ears.stands(room, "invite")
    await bob.join(room)
    await two.alice_ears.event(room, await bob.send(room, "After all"))


@pytest.mark.parametrize("version", VERSIONS[6:])
async def test_knocking(two: Two, version: str) -> None:
    """Bob knocks, is told which room it is, is refused, knocks again, and is let in."""
    alice, bob = two.alice, two.bob
    room = await alice.create_room(
        name="The shed",
        room_version=version,
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}],
    )
    path, via = v3("knock", room), {"via": [two.here.name]}
    assert (await bob.call("POST", path, {"reason": "let me in"}, query=via))["room_id"] == room
    asked = await two.alice_ears.member(room, bob.user_id, "knock")
    assert asked["content"]["reason"] == "let me in"
    await two.bob_ears.stands(room, "knock")
    assert {"name": "The shed"} in [event["content"] for event in two.bob_ears.told[room]]
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": bob.user_id})
    await two.bob_ears.stands(room, "leave")

    await bob.call("POST", path, query=via)
    await two.alice_ears.member(room, bob.user_id, "knock")
    await bob.leave(room)
    await two.alice_ears.member(room, bob.user_id, "leave")
    await two.bob_ears.stands(room, "leave")

    await bob.call("POST", path, query=via)
    await two.alice_ears.member(room, bob.user_id, "knock")
    await alice.invite(room, bob.user_id)
    await two.bob_ears.stands(room, "invite")
    await bob.join(room)
    await two.alice_ears.event(room, await bob.send(room, "Thank you"))
    await two.agree(room)


@pytest.mark.parametrize("version", VERSIONS[7:])
async def test_restricted_rooms(two: Two, version: str) -> None:
    """Members of a space may come in, if a server vouches whose user may invite: also for who lives on another server
    that is in the room already. Nobody else may."""
    alice, bob = two.alice, two.bob
    carol, dora = await person(two.stack, two.there, "carol"), await person(two.stack, two.there, "dora")
    space = await alice.create_room(preset="public_chat", room_version=version)
    allow = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room = await alice.create_room(
        room_version=version,
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": allow}],
        power_level_content_override={"invite": 50},
    )
    via = {"via": [two.here.name]}
    await bob.call("POST", v3("join", room), query=via, expect=403)
    for member in (bob, carol):
        await member.join(space, via=[two.here.name])
        await two.alice_ears.member(space, member.user_id, "join")
        assert await member.join(room, via=[two.here.name]) == room
        joined = await two.alice_ears.member(room, member.user_id, "join")
        assert joined["content"]["join_authorised_via_users_server"] == alice.user_id
    await dora.call("POST", v3("join", room), query=via, expect=403)
    await two.alice_ears.event(room, await carol.send(room, "Here I am"))
    await two.agree(room)
