"""How people of the other server come into a room, and go."""

from tests.builders.waiting import until
from tests.conformance.client import v3
from tests.interop.synapse.people import PATIENCE, Meeting, Person
from tests.interop.synapse.rooms import act, agree, open_room

V1 = "/_matrix/client/v1"


async def going(meeting: Meeting) -> None:
    """Leave, kick, ban, unban and rejoin: the server that is shown the door hears of it."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    await act(bob, room, "leave", reason="tired")
    await alice.finds(room, "m.room.member", bob.user_id, {"membership": "leave", "reason": "tired"})
    await _rejoin(room, bob, alice)
    await act(alice, room, "kick", user_id=bob.user_id, reason="noise")
    await bob.learns(lambda: _goodbye(bob, room) == ("leave", "noise"), "hears of the kick")
    await _rejoin(room, bob, alice)
    said = await bob.client.send(room, "I am back")
    await alice.hears(room, said)
    await act(alice, room, "ban", user_id=bob.user_id, reason="more noise")
    await bob.learns(lambda: _goodbye(bob, room) == ("ban", "more noise"), "hears of the ban")
    query = {"via": [alice.server]}
    refused = await bob.client.call("POST", v3("join", room), {}, query=query, expect=403)
    assert refused["errcode"] == "M_FORBIDDEN"
    await act(alice, room, "unban", user_id=bob.user_id)
    await _rejoin(room, bob, alice)
    said = await alice.client.send(room, "Welcome back")
    await bob.hears(room, said)
    await agree(room, alice, bob)


def _goodbye(person: Person, room: str) -> tuple[str, str | None] | None:
    event = person.left.get(room)
    return None if not event else (event["content"]["membership"], event["content"].get("reason"))


async def _rejoin(room: str, person: Person, host: Person) -> None:
    await person.client.join(room, via=[host.server])
    await host.finds(room, "m.room.member", person.user_id, {"membership": "join"})
    await person.learns(lambda: room not in person.left, "is in the room again")


async def invites(meeting: Meeting) -> None:
    """An invite is told with the room's name, refused, repeated, taken back, and at last followed."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await alice.client.create_room(preset="private_chat", room_version=meeting.version, name="Tea")
    await alice.client.invite(room, bob.user_id, reason="come")
    told = {event["type"]: event["content"] for event in await bob.is_invited(room)}
    assert told["m.room.name"] == {"name": "Tea"}
    await act(bob, room, "leave")
    await alice.finds(room, "m.room.member", bob.user_id, {"membership": "leave"})
    await bob.learns(lambda: room not in bob.invites, "has refused")
    await alice.client.invite(room, bob.user_id)
    await bob.is_invited(room)
    await act(alice, room, "kick", user_id=bob.user_id)
    await bob.learns(lambda: room not in bob.invites, "sees that the invite was taken back")
    await bob.client.call("POST", v3("join", room), {}, query={"via": [alice.server]}, expect=403)
    await alice.client.invite(room, bob.user_id)
    await bob.is_invited(room)
    await bob.client.join(room)
    await alice.finds(room, "m.room.member", bob.user_id, {"membership": "join"})
    carol = await meeting.host.person("carol")
    await act(bob, room, "invite", user_id=carol.user_id)
    await carol.is_invited(room)
    await carol.client.join(room)
    await bob.finds(room, "m.room.member", carol.user_id, {"membership": "join"})
    await agree(room, alice, bob)


async def knocks(meeting: Meeting) -> None:
    """A knock is heard, taken back, repeated, and answered by an invite."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = await alice.client.create_room(room_version=meeting.version, initial_state=[rules], name="Tea")
    if meeting.guest is meeting.servers.parley:
        # Synapse takes its own back without a word to us, and neither tells nor hears that one is declined.
        await _knock(room, bob, alice)
        await act(bob, room, "leave")
        await alice.finds(room, "m.room.member", bob.user_id, {"membership": "leave"})
    await _knock(room, bob, alice)
    await alice.client.invite(room, bob.user_id)
    await bob.is_invited(room)
    await bob.client.join(room)
    await alice.finds(room, "m.room.member", bob.user_id, {"membership": "join"})
    await agree(room, alice, bob)


async def _knock(room: str, person: Person, host: Person) -> None:
    await person.client.call("POST", v3("knock", room), {"reason": "please"}, query={"via": [host.server]})
    await host.finds(room, "m.room.member", person.user_id, {"membership": "knock", "reason": "please"})


async def restricted(meeting: Meeting) -> None:
    """Who is in a certain room may come into another one; who is not, may not."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    carol = await meeting.guest.person("carol")
    club = await open_room(meeting, alice, bob)
    allow = [{"type": "m.room_membership", "room_id": club}]
    rules = {
        "type": "m.room.join_rules",
        "state_key": "",
        "content": {"join_rule": "restricted", "allow": allow},
    }
    room = await alice.client.create_room(room_version=meeting.version, initial_state=[rules])
    query = {"via": [alice.server]}
    refused = await carol.client.call("POST", v3("join", room), {}, query=query, expect=403)
    assert refused["errcode"] in ("M_FORBIDDEN", "M_UNABLE_TO_AUTHORISE_JOIN"), refused
    await bob.client.join(room, via=[alice.server])
    own = await bob.client.state(room, "m.room.member", bob.user_id)
    assert own["join_authorised_via_users_server"] == alice.user_id
    said = await bob.client.send(room, "The club lets me in")
    await alice.hears(room, said)
    # Her own server is in both rooms by now, and still she is in neither: a member who may invite has to vouch.
    await carol.client.join(club, via=[alice.server])
    await alice.finds(club, "m.room.member", carol.user_id, {"membership": "join"})
    await carol.client.join(room, via=[alice.server])
    await alice.finds(room, "m.room.member", carol.user_id, {"membership": "join"})
    await bob.finds(room, "m.room.member", carol.user_id, {"membership": "join"})
    await agree(room, alice, bob)


async def finding(meeting: Meeting) -> None:
    """A room is found by its alias and in the other server's directory, and looked into from a space."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    short = f"tea-{meeting.version}-{alice.user_id[1:].partition(':')[0]}"
    room = await alice.client.create_room(
        preset="public_chat", visibility="public", room_version=meeting.version, room_alias_name=short, name=short
    )
    alias = f"#{short}:{alice.server}"
    found = await bob.client.call("GET", v3("directory", "room", alias))
    assert found["room_id"] == room and alice.server in found["servers"], found
    await until(lambda: _is_listed(bob, alice.server, short, room), PATIENCE, "the directory tells the room")
    child = {"type": "m.space.child", "state_key": room, "content": {"via": [alice.server]}}
    space = await alice.client.create_room(
        preset="public_chat",
        room_version=meeting.version,
        creation_content={"type": "m.space"},
        initial_state=[child],
    )
    await bob.client.join(space, via=[alice.server])
    tree = await bob.client.call("GET", f"{V1}/rooms/{space}/hierarchy")
    assert [one["room_id"] for one in tree["rooms"]] == [space, room], tree
    assert await bob.client.join(alias) == room
    await alice.finds(room, "m.room.member", bob.user_id, {"membership": "join"})
    await agree(room, alice, bob)


async def _is_listed(who: Person, server: str, term: str, room: str) -> bool:
    """Synapse searches a table that it fills a little later."""
    body = {"filter": {"generic_search_term": term}}
    answer = await who.client.call("POST", v3("publicRooms"), body, query={"server": server})
    return [one["room_id"] for one in answer["chunk"]] == [room]


async def shut_out(meeting: Meeting) -> None:
    """A server that the room's ACL refuses is not heard in it, and in other rooms it is; it may be let in again."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room, other = await open_room(meeting, alice, bob), await open_room(meeting, alice, bob)
    host = bob.server.rpartition(":")[0]
    acl = await alice.client.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": [host]})
    await bob.hears(room, acl)
    unheard = await bob.client.send(room, "unheard")
    await alice.hears(other, await bob.client.send(other, "heard elsewhere"))
    await alice.listen()
    assert unheard not in alice.events[room]
    query = {"via": [alice.server]}
    carol = await meeting.guest.person("carol")
    await act(bob, room, "leave")
    await carol.client.call("POST", v3("join", room), {}, query=query, expect=403)
    await alice.client.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": []})
    await carol.client.join(room, via=[alice.server])
    await alice.hears(room, await carol.client.send(room, "heard again"))
    await agree(room, alice, carol)


async def upgrade(meeting: Meeting) -> None:
    """A room is replaced by a newer one: the guest is told, and follows."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    answer = await act(alice, room, "upgrade", new_version=meeting.version)
    new = answer["replacement_room"]
    await bob.finds(room, "m.room.tombstone", "", {"replacement_room": new})
    await bob.client.join(new, via=[alice.server])
    create = await bob.client.state(new, "m.room.create")
    assert create["predecessor"]["room_id"] == room
    await until(lambda: _is_member(alice, new, bob), PATIENCE)
    await agree(new, alice, bob)


async def _is_member(who: Person, room: str, other: Person) -> bool:
    members = await who.client.call("GET", v3("rooms", room, "joined_members"))
    return other.user_id in members["joined"]
