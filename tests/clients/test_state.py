"""A room's state and its members."""

from typing import Any

from tests.conformance.client import MatrixClient, v3


async def test_state_with_and_without_a_key(alice: MatrixClient) -> None:
    """An empty key may be left out, with its slash or without; keys with slashes are one key."""
    room = await alice.create_room()
    base = v3("rooms", room, "state", "org.example")
    first = (await alice.call("PUT", base, {"n": 1}))["event_id"]
    assert await alice.call("GET", base + "/") == {"n": 1}
    second = (await alice.call("PUT", base + "/", {"n": 2}))["event_id"]
    assert await alice.call("GET", base) == {"n": 2}
    await alice.set_state(room, "org.example", {"n": 3}, "a/b c%é")

    assert first != second
    assert await alice.state(room, "org.example", "a/b c%é") == {"n": 3}
    assert await alice.state(room, "org.example") == {"n": 2}
    assert (await alice.call("GET", v3("rooms", room, "state", "org.example", "zzz"), expect=404))[
        "errcode"
    ] == "M_NOT_FOUND"
    assert (await alice.call("GET", v3("rooms", room, "state", "org.other"), expect=404))["errcode"] == "M_NOT_FOUND"


async def test_the_same_again_makes_no_event(alice: MatrixClient) -> None:
    """Setting what stands there is answered with the event that stands there; 1 is not true."""
    room = await alice.create_room()
    first = await alice.set_state(room, "org.example", {"n": 1})
    assert await alice.set_state(room, "org.example", {"n": 1}) == first
    assert await alice.set_state(room, "org.example", {"n": True}) != first


async def test_formats(alice: MatrixClient) -> None:
    """`content` alone, or the whole `event` with what it replaced."""
    room = await alice.create_room(name="Before")
    event_id = await alice.set_state(room, "m.room.name", {"name": "After"})
    path = v3("rooms", room, "state", "m.room.name", "")
    event = await alice.call("GET", path, query={"format": "event"})

    assert await alice.call("GET", path, query={"format": "content"}) == {"name": "After"}
    assert (event["event_id"], event["room_id"], event["sender"]) == (event_id, room, alice.user_id)
    assert event["unsigned"]["prev_content"] == {"name": "Before"}
    assert (await alice.call("GET", path, query={"format": "xml"}, expect=400))["errcode"] == "M_INVALID_PARAM"


async def test_all_state(alice: MatrixClient, bob: MatrixClient) -> None:
    """Every event with its room; nothing for those who were never there."""
    room = await alice.create_room(name="Tea")
    state = await alice.state(room)

    assert {event["room_id"] for event in state} == {room}
    assert {"m.room.create", "m.room.name", "m.room.power_levels"} <= {event["type"] for event in state}
    for path in ("state", "members", "joined_members"):
        assert (await bob.call("GET", v3("rooms", room, path), expect=403))["errcode"] == "M_FORBIDDEN"
        assert (await bob.call("GET", v3("rooms", "!no:where", path), expect=403))["errcode"] == "M_FORBIDDEN"
    await bob.call("GET", v3("rooms", room, "state", "m.room.name"), expect=403)


async def test_whoever_left_sees_the_state_of_then(alice: MatrixClient, bob: MatrixClient) -> None:
    """State, one key of it, and members stand still at the leaving; joined_members is for those who are in."""
    room = await alice.create_room(name="Before", preset="public_chat")
    await bob.join(room)
    await bob.leave(room)
    await alice.set_state(room, "m.room.name", {"name": "After"})
    await alice.set_state(room, "org.new", {})
    await alice.invite(room, "@late:test.example")

    assert await bob.state(room, "m.room.name") == {"name": "Before"}
    assert "org.new" not in {event["type"] for event in await bob.state(room)}
    await bob.call("GET", v3("rooms", room, "state", "org.new"), expect=404)
    members = (await bob.call("GET", v3("rooms", room, "members")))["chunk"]
    assert {event["state_key"]: event["content"]["membership"] for event in members} == {
        alice.user_id: "join",
        bob.user_id: "leave",
    }
    assert (await bob.call("GET", v3("rooms", room, "joined_members"), expect=403))["errcode"] == "M_FORBIDDEN"


async def test_world_readable_rooms_are_read_by_strangers(alice: MatrixClient, bob: MatrixClient) -> None:
    """Who may peek reads the state, but is no member."""
    visible = [{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}]
    room = await alice.create_room(name="Window", initial_state=visible)

    assert await bob.state(room, "m.room.name") == {"name": "Window"}
    assert await bob.state(room)
    await bob.call("GET", v3("rooms", room, "joined_members"), expect=403)
    await bob.call("PUT", v3("rooms", room, "state", "m.room.name"), {"name": "x"}, expect=403)


async def test_members(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """By membership, without a membership, and as they were at a token."""
    room = await alice.create_room(preset="public_chat", invite=[carol.user_id])
    at = (await alice.sync())["next_batch"]
    await bob.join(room)
    await bob.leave(room)

    async def who(**query: Any) -> set[str]:
        body = await alice.call("GET", v3("rooms", room, "members"), query=query)
        return {event["state_key"] for event in body["chunk"]}

    assert await who() == {alice.user_id, bob.user_id, carol.user_id}
    assert await who(membership="join") == {alice.user_id}
    assert await who(membership="invite") == {carol.user_id}
    assert await who(not_membership="leave") == {alice.user_id, carol.user_id}
    assert await who(membership="leave", not_membership="join") == {bob.user_id, carol.user_id}
    assert await who(at=at) == {alice.user_id, carol.user_id}
    assert await who(at=at, membership="join") == {alice.user_id}
    for query in ({"membership": "joined"}, {"not_membership": ""}, {"at": "yesterday"}):
        body = await alice.call("GET", v3("rooms", room, "members"), query=query, expect=400)
        assert body["errcode"] == "M_INVALID_PARAM", query


async def test_joined_members(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Names and avatars of those who are in."""
    await bob.call("PUT", v3("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    room = await alice.create_room(preset="public_chat", invite=[carol.user_id])
    await bob.join(room)
    joined = (await alice.call("GET", v3("rooms", room, "joined_members")))["joined"]

    assert joined == {alice.user_id: {}, bob.user_id: {"display_name": "Bob"}}


async def test_names_follow_the_profile(alice: MatrixClient) -> None:
    """A new name reaches the rooms that one is in."""
    room = await alice.create_room()
    await alice.call("PUT", v3("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
    assert (await alice.state(room, "m.room.member", alice.user_id))["displayname"] == "Alice"


async def test_what_cannot_be_set(alice: MatrixClient, bob: MatrixClient) -> None:
    """Wrong rooms, people, keys and contents, each with its errcode."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    wrong: list[tuple[MatrixClient, str, str, str, Any, int, str]] = [
        (alice, room, "org.example", "", {"a": 0.5}, 400, "M_BAD_JSON"),
        (alice, room, "org.example", "x" * 256, {}, 400, "M_INVALID_PARAM"),
        (alice, room, "x" * 256, "", {}, 400, "M_INVALID_PARAM"),
        (alice, room, "org.example", "", {"a": "x" * 65_536}, 413, "M_TOO_LARGE"),
        (alice, room, "org.example", "@bob:test.example", {}, 403, "M_FORBIDDEN"),
        (alice, room, "m.room.create", "", {}, 403, "M_FORBIDDEN"),
        (alice, room, "m.room.member", "nobody", {"membership": "ban"}, 400, "M_INVALID_PARAM"),
        (alice, room, "m.room.member", "@bob:test.example", {}, 403, "M_FORBIDDEN"),
        (alice, room, "m.room.member", "@dora:test.example", {"membership": "join"}, 403, "M_FORBIDDEN"),
        (alice, room, "m.room.power_levels", "", {"users": {"@bob:test.example": "50"}}, 403, "M_FORBIDDEN"),
        (bob, room, "m.room.name", "", {"name": "Bob's"}, 403, "M_FORBIDDEN"),
        (alice, "!no:where", "org.example", "", {}, 404, "M_NOT_FOUND"),
    ]
    for sender, where, type, key, content, status, errcode in wrong:
        answer = await sender.ask("PUT", v3("rooms", where, "state", type, key), content)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), (type, key, content)


async def test_membership_through_state(alice: MatrixClient, bob: MatrixClient) -> None:
    """Inviting, banning and leaving can be said as state, too."""
    room = await alice.create_room()
    await alice.set_state(room, "m.room.member", {"membership": "invite"}, bob.user_id)
    await bob.join(room)
    await bob.set_state(room, "m.room.member", {"membership": "leave"}, bob.user_id)
    await alice.set_state(room, "m.room.member", {"membership": "ban"}, bob.user_id)
    await bob.call("POST", v3("join", room), expect=403)


async def test_canonical_alias_must_lead_here(alice: MatrixClient) -> None:
    """Bad syntax is M_INVALID_PARAM, an alias of another room or of none M_BAD_ALIAS; what stood there may stay."""
    room = await alice.create_room(room_alias_name="tea")
    await alice.create_room(room_alias_name="coffee")
    path = v3("rooms", room, "state", "m.room.canonical_alias")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"alias": "tea"}, "M_INVALID_PARAM"),
        ({"alias": 1}, "M_INVALID_PARAM"),
        ({"alias": "#tea:test.example", "alt_aliases": "#tea:test.example"}, "M_INVALID_PARAM"),
        ({"alt_aliases": [1]}, "M_INVALID_PARAM"),
        ({"alt_aliases": ["#x"]}, "M_INVALID_PARAM"),
        ({"alt_aliases": [f"#x{n}:test.example" for n in range(101)]}, "M_INVALID_PARAM"),
        ({"alias": "#coffee:test.example"}, "M_BAD_ALIAS"),
        ({"alias": "#tea:test.example", "alt_aliases": ["#coffee:test.example"]}, "M_BAD_ALIAS"),
        ({"alias": "#nothing:test.example"}, "M_BAD_ALIAS"),
    ]
    for content, errcode in wrong:
        assert (await alice.call("PUT", path, content, expect=400))["errcode"] == errcode, content
    await alice.call("PUT", path, {"alt_aliases": ["#tea:test.example"], "alias": ""})
    await alice.call("PUT", path, {"alias": None})
    assert await alice.call("GET", path) == {"alias": None}
