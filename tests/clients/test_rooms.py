"""Making rooms, and who is in them."""

from typing import Any

from tests.builders.house import TestHouse
from tests.clients.conftest import Served, serve
from tests.conformance.client import MatrixClient, v3


def membership(state: list[dict[str, Any]], user_id: str) -> str | None:
    for event in state:
        if event["type"] == "m.room.member" and event["state_key"] == user_id:
            return str(event["content"]["membership"])
    return None


def types(state: list[dict[str, Any]]) -> set[str]:
    return {event["type"] for event in state}


async def in_room(room: str, *others: MatrixClient) -> None:
    """They join, one by one."""
    for other in others:
        await other.join(room)


# --- making rooms ---------------------------------------------------------------------------------------------------


async def test_two_people_meet(alice: MatrixClient, bob: MatrixClient) -> None:
    """Invited, joined, talked to, and paging back."""
    room = await alice.create_room(name="Tea", invite=[bob.user_id])
    invited = (await bob.sync())["rooms"]["invite"][room]["invite_state"]["events"]
    assert await bob.join(room) == room
    await alice.send(room, "hello")
    page = await bob.messages(room)

    assert {"m.room.create", "m.room.name", "m.room.member"} <= types(invited)
    assert page["chunk"][0]["content"]["body"] == "hello"
    assert (await bob.call("GET", v3("joined_rooms")))["joined_rooms"] == [room]


PRESETS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "invite", "can_join"),
    ({"visibility": "private"}, "invite", "can_join"),
    ({"visibility": "public"}, "public", "forbidden"),
    ({"visibility": "public", "preset": "private_chat"}, "invite", "can_join"),
    ({"preset": "public_chat"}, "public", "forbidden"),
    ({"preset": "trusted_private_chat"}, "invite", "can_join"),
    ({"preset": None, "visibility": None}, "invite", "can_join"),
]


async def test_presets(alice: MatrixClient) -> None:
    """The preset sets join rule, history visibility and guest access; without one, the visibility chooses it."""
    for options, join_rule, guest_access in PRESETS:
        room = await alice.create_room(**options)
        assert await alice.state(room, "m.room.join_rules") == {"join_rule": join_rule}
        assert await alice.state(room, "m.room.guest_access") == {"guest_access": guest_access}
        assert await alice.state(room, "m.room.history_visibility") == {"history_visibility": "shared"}


async def test_every_room_version_works(alice: MatrixClient, bob: MatrixClient) -> None:
    """Two people talk, redact and leave in a room of each version."""
    for version in (str(number) for number in range(1, 13)):
        room = await alice.create_room(room_version=version, preset="public_chat", name="Old and new")
        await bob.join(room)
        said = await bob.send(room, "hello")
        await alice.call("PUT", v3("rooms", room, "redact", said, "t"), {"reason": "spam"})
        await bob.leave(room)

        assert (await alice.state(room, "m.room.create"))["room_version"] == version
        assert (await alice.call("GET", v3("rooms", room, "event", said)))["content"] == {}
        assert membership(await alice.state(room), bob.user_id) == "leave"
        assert (":" in room) == (version != "12")


async def test_default_version_is_the_servers(alice: MatrixClient) -> None:
    room = await alice.create_room()
    assert (await alice.state(room, "m.room.create"))["room_version"] == "12"


async def test_everything_that_a_room_can_be_made_with(alice: MatrixClient, bob: MatrixClient) -> None:
    """All members of the body at once, each with its effect."""
    room = await alice.create_room(
        preset="private_chat",
        room_version="11",
        room_alias_name="tea",
        name="Tea",
        topic="Nothing but tea",
        invite=[bob.user_id],
        is_direct=True,
        creation_content={"m.federate": False, "type": "m.space", "room_version": "1", "creator": "@eve:test.example"},
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
            {"type": "org.example", "state_key": "x", "content": {"a": 1}},
            {"type": "m.room.name", "content": {"name": "Overridden"}},
        ],
        power_level_content_override={"events_default": 10},
    )
    create = await alice.state(room, "m.room.create")
    invite = (await bob.sync())["rooms"]["invite"][room]["invite_state"]["events"]

    assert create == {"m.federate": False, "type": "m.space", "room_version": "11"}
    assert await alice.state(room, "m.room.canonical_alias") == {"alias": "#tea:test.example"}
    assert (await alice.state(room, "m.room.name"))["name"] == "Tea"
    assert (await alice.state(room, "m.room.topic"))["topic"] == "Nothing but tea"
    assert await alice.state(room, "m.room.history_visibility") == {"history_visibility": "joined"}
    assert await alice.state(room, "org.example", "x") == {"a": 1}
    levels = await alice.state(room, "m.room.power_levels")
    assert levels["events_default"] == 10
    assert levels["users"] == {alice.user_id: 100}
    assert next(e for e in invite if e.get("state_key") == bob.user_id)["content"]["is_direct"] is True
    assert await bob.join("#tea:test.example") == room


async def test_events_of_a_new_room_come_in_the_specs_order(alice: MatrixClient, bob: MatrixClient) -> None:
    """Create, join, power levels, alias, preset, initial state, name and topic, invites."""
    room = await alice.create_room(
        room_alias_name="order",
        name="Name",
        topic="Topic",
        invite=[bob.user_id],
        initial_state=[{"type": "org.example", "content": {}}],
    )
    page = await alice.messages(room, dir="f", limit=100)

    assert [event["type"].removeprefix("m.room.") for event in page["chunk"]] == [
        "create", "member", "power_levels", "canonical_alias", "join_rules", "history_visibility", "guest_access",
        "org.example", "name", "topic", "member",
    ]  # fmt: skip


async def test_trusted_invitees_are_as_powerful_as_the_creator(alice: MatrixClient, bob: MatrixClient) -> None:
    """Up to version 11 by their level, from version 12 on as creators."""
    options: dict[str, Any] = {"preset": "trusted_private_chat", "invite": [bob.user_id]}
    old, new = await alice.create_room(room_version="11", **options), await alice.create_room(**options)

    assert (await alice.state(old, "m.room.power_levels"))["users"][bob.user_id] == 100
    assert (await alice.state(new, "m.room.create"))["additional_creators"] == [bob.user_id]


WRONG_ROOMS: list[tuple[dict[str, Any], int, str]] = [
    ({"visibility": "secret"}, 400, "M_INVALID_PARAM"),
    ({"visibility": 1}, 400, "M_BAD_JSON"),
    ({"preset": "chat"}, 400, "M_INVALID_PARAM"),
    ({"preset": []}, 400, "M_BAD_JSON"),
    ({"room_version": "13"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
    ({"room_version": 12}, 400, "M_BAD_JSON"),
    ({"name": 1}, 400, "M_BAD_JSON"),
    ({"topic": {}}, 400, "M_BAD_JSON"),
    ({"is_direct": "true"}, 400, "M_BAD_JSON"),
    ({"invite": "@bob:test.example"}, 400, "M_BAD_JSON"),
    ({"invite": [1]}, 400, "M_BAD_JSON"),
    ({"invite": ["bob"]}, 400, "M_INVALID_PARAM"),
    ({"invite": [f"@u{n}:test.example" for n in range(201)]}, 400, "M_INVALID_PARAM"),
    ({"invite_3pid": {}}, 400, "M_BAD_JSON"),
    ({"invite_3pid": [{"medium": "email", "address": "a@b.c"}]}, 403, "M_THREEPID_DENIED"),
    ({"creation_content": []}, 400, "M_BAD_JSON"),
    ({"creation_content": {"m.federate": "no"}}, 400, "M_BAD_JSON"),
    ({"creation_content": {"type": 5}}, 400, "M_BAD_JSON"),
    ({"creation_content": {"additional_creators": "bob"}}, 400, "M_INVALID_ROOM_STATE"),
    ({"creation_content": {"additional_creators": ["bob"]}}, 400, "M_INVALID_ROOM_STATE"),
    ({"initial_state": {}}, 400, "M_BAD_JSON"),
    ({"initial_state": [1]}, 400, "M_BAD_JSON"),
    ({"initial_state": [{"content": {}}]}, 400, "M_MISSING_PARAM"),
    ({"initial_state": [{"type": "a"}]}, 400, "M_MISSING_PARAM"),
    ({"initial_state": [{"type": 1, "content": {}}]}, 400, "M_BAD_JSON"),
    ({"initial_state": [{"type": "a", "content": []}]}, 400, "M_BAD_JSON"),
    ({"initial_state": [{"type": "a", "content": {}, "state_key": 1}]}, 400, "M_BAD_JSON"),
    ({"initial_state": [{"type": "a", "content": {"x": 1.5}}]}, 400, "M_BAD_JSON"),
    ({"initial_state": [{"type": "a" * 256, "content": {}}]}, 413, "M_TOO_LARGE"),
    ({"initial_state": [{"type": "a", "content": {"x": "y" * 65_536}}]}, 413, "M_TOO_LARGE"),
    ({"initial_state": [{"type": f"t{n}", "content": {}} for n in range(251)]}, 400, "M_INVALID_PARAM"),
    ({"initial_state": [{"type": "m.room.create", "content": {}}]}, 400, "M_INVALID_ROOM_STATE"),
    ({"power_level_content_override": []}, 400, "M_BAD_JSON"),
    ({"power_level_content_override": {"users": {"@a:b.c": "100"}}}, 400, "M_INVALID_ROOM_STATE"),
    ({"power_level_content_override": {"ban": 2**53}}, 400, "M_BAD_JSON"),
    ({"room_version": "11", "name": "x", "power_level_content_override": {"users": {"@alice:test.example": 0}}}, 400,
        "M_INVALID_ROOM_STATE"),
    ({"room_alias_name": 1}, 400, "M_BAD_JSON"),
    ({"room_alias_name": ""}, 400, "M_INVALID_PARAM"),
    ({"room_alias_name": "#tea:test.example"}, 400, "M_INVALID_PARAM"),
    ({"room_alias_name": "two words"}, 400, "M_INVALID_PARAM"),
    ({"room_alias_name": "x" * 300}, 400, "M_INVALID_PARAM"),
]  # fmt: skip


async def test_rooms_that_cannot_be_made(alice: MatrixClient) -> None:
    """Each member of the body with a wrong type or value; nothing is left behind."""
    for body, status, errcode in WRONG_ROOMS:
        answer = await alice.ask("POST", v3("createRoom"), body)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), body
    assert (await alice.call("GET", v3("joined_rooms")))["joined_rooms"] == []


async def test_an_alias_is_taken_once(alice: MatrixClient, bob: MatrixClient) -> None:
    """Whoever comes second is told M_ROOM_IN_USE, and has no room."""
    await alice.create_room(room_alias_name="tea")
    refused = await bob.call("POST", v3("createRoom"), {"room_alias_name": "tea"}, expect=400)

    assert refused["errcode"] == "M_ROOM_IN_USE"
    assert (await bob.call("GET", v3("joined_rooms")))["joined_rooms"] == []


# --- joining --------------------------------------------------------------------------------------------------------


async def test_joining_a_public_room_by_id_and_alias(alice: MatrixClient, bob: MatrixClient) -> None:
    """All three ways to say it, with hints that do not matter here; twice is once."""
    room = await alice.create_room(preset="public_chat", room_alias_name="tea")
    await bob.call("POST", v3("rooms", room, "join"), {"reason": "Tea!"})
    joined = await alice.state(room, "m.room.member", bob.user_id)
    await bob.call("POST", v3("join", room), query={"via": ["a.org", "b.org"], "server_name": "c.org"})
    await bob.join("#tea:test.example")

    assert joined["reason"] == "Tea!"
    assert sum(e.get("state_key") == bob.user_id for e in (await alice.messages(room, limit=50))["chunk"]) == 1


async def test_who_may_not_join(alice: MatrixClient, bob: MatrixClient) -> None:
    """Not invited, banned, no such room, no such alias."""
    private, public = await alice.create_room(), await alice.create_room(preset="public_chat")
    await alice.call("POST", v3("rooms", public, "ban"), {"user_id": bob.user_id})

    for room in (private, public):
        assert (await bob.call("POST", v3("join", room), expect=403))["errcode"] == "M_FORBIDDEN"
        assert (await bob.call("POST", v3("rooms", room, "join"), expect=403))["errcode"] == "M_FORBIDDEN"
    for nowhere in ("!nowhere:test.example", "#nowhere:test.example"):
        assert (await bob.call("POST", v3("join", nowhere), expect=404))["errcode"] == "M_NOT_FOUND"
    for nonsense in ("room", "@bob:test.example", "!", "#"):
        assert (await bob.call("POST", v3("join", nonsense), expect=400))["errcode"] == "M_INVALID_PARAM"


async def test_joining_with_a_body_that_makes_no_sense(alice: MatrixClient) -> None:
    """A reason is text, a signed invitation an object."""
    room = await alice.create_room()
    for body in ({"reason": 1}, {"third_party_signed": "x"}):
        assert (await alice.call("POST", v3("join", room), body, expect=400))["errcode"] == "M_BAD_JSON"


async def test_restricted_room_lets_in_the_members_of_another(
    alice: MatrixClient, bob: MatrixClient, carol: MatrixClient
) -> None:
    """Whoever is in the allowed room may join, and nobody else."""
    lobby = await alice.create_room(preset="public_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]}
    room = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rule}])
    await bob.join(lobby)
    await bob.join(room)

    await carol.call("POST", v3("join", room), expect=403)
    joined = await alice.state(room, "m.room.member", bob.user_id)
    assert joined["join_authorised_via_users_server"] == alice.user_id


# --- inviting, leaving, kicking, banning ----------------------------------------------------------------------------


async def test_inviting(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """With a reason, twice; then the errors that the spec lists."""
    room = await alice.create_room()
    await alice.invite(room, bob.user_id, reason="Come")
    await alice.invite(room, bob.user_id, reason="Please")

    assert (await alice.state(room, "m.room.member", bob.user_id))["reason"] == "Please"
    await bob.join(room)
    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": carol.user_id})
    for sender, target in ((alice, bob), (alice, carol), (carol, bob)):
        refused = await sender.call("POST", v3("rooms", room, "invite"), {"user_id": target.user_id}, expect=403)
        assert refused["errcode"] == "M_FORBIDDEN"
    levels = await alice.state(room, "m.room.power_levels")
    await alice.set_state(room, "m.room.power_levels", {**levels, "invite": 50})
    await bob.call("POST", v3("rooms", room, "invite"), {"user_id": "@dora:test.example"}, expect=403)


async def test_bodies_that_name_nobody(alice: MatrixClient) -> None:
    """A user id is text, and has the form of one; a reason is text."""
    room = await alice.create_room()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "M_MISSING_PARAM"),
        ({"user_id": None}, "M_MISSING_PARAM"),
        ({"user_id": 1}, "M_BAD_JSON"),
        ({"user_id": "bob"}, "M_INVALID_PARAM"),
        ({"user_id": "@bob:test.example", "reason": 1}, "M_BAD_JSON"),
    ]
    for action in ("invite", "kick", "ban", "unban"):
        for body, errcode in wrong:
            refused = await alice.call("POST", v3("rooms", room, action), body, expect=400)
            assert refused["errcode"] == errcode, (action, body)


async def test_nobody_is_invited_by_mail(alice: MatrixClient) -> None:
    """There is no identity server to ask: a clear refusal, after the usual checks of the body."""
    room = await alice.create_room()
    body = {"medium": "email", "address": "a@b.c", "id_server": "id.org", "id_access_token": "x"}
    refused = await alice.call("POST", v3("rooms", room, "invite"), body, expect=403)
    incomplete = await alice.call("POST", v3("rooms", room, "invite"), {"medium": "email"}, expect=400)

    assert refused["errcode"] == "M_THREEPID_DENIED"
    assert "identity server" in refused["error"]
    assert incomplete["errcode"] == "M_MISSING_PARAM"


async def test_leaving(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Leaving a room, rejecting an invite; twice is once; who has nothing to do with a room cannot leave it."""
    room = await alice.create_room(invite=[bob.user_id])
    await bob.leave(room, reason="No time")
    await alice.leave(room)
    await alice.leave(room)

    assert membership(await alice.state(room), bob.user_id) == "leave"
    assert (await carol.call("POST", v3("rooms", room, "leave"), expect=403))["errcode"] == "M_FORBIDDEN"
    assert (await carol.call("POST", v3("rooms", "!no:where", "leave"), expect=404))["errcode"] == "M_NOT_FOUND"
    assert (await alice.call("GET", v3("joined_rooms")))["joined_rooms"] == []


async def test_kicking(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Members and invited people are kicked, with a reason; the kicked may come back; the errors of the spec."""
    room = await alice.create_room(preset="public_chat", invite=[carol.user_id])
    await bob.join(room)
    kick = v3("rooms", room, "kick")
    assert (await bob.call("POST", kick, {"user_id": alice.user_id}, expect=403))["errcode"] == "M_FORBIDDEN"
    await alice.call("POST", kick, {"user_id": bob.user_id, "reason": "Enough"})
    await alice.call("POST", kick, {"user_id": carol.user_id})

    kicked = await alice.state(room, "m.room.member", bob.user_id)
    assert (kicked["membership"], kicked["reason"]) == ("leave", "Enough")
    for sender, target in ((alice, bob), (alice, carol), (bob, alice)):
        assert (await sender.call("POST", kick, {"user_id": target.user_id}, expect=403))["errcode"] == "M_FORBIDDEN"
    assert await bob.join(room) == room


async def test_banning_and_unbanning(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Who is banned is out until unbanned; so is who was never in; the errors of the spec."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    ban, unban = v3("rooms", room, "ban"), v3("rooms", room, "unban")
    for target in (bob, carol):
        await alice.call("POST", ban, {"user_id": target.user_id, "reason": "Spam"})
        await target.call("POST", v3("join", room), expect=403)
    await alice.call("POST", ban, {"user_id": bob.user_id})
    assert (await alice.state(room, "m.room.member", bob.user_id))["membership"] == "ban"

    assert (await bob.call("POST", unban, {"user_id": bob.user_id}, expect=403))["errcode"] == "M_FORBIDDEN"
    assert (await bob.call("POST", v3("rooms", room, "leave"), expect=403))["errcode"] == "M_FORBIDDEN"
    await alice.call("POST", unban, {"user_id": bob.user_id})
    await alice.call("POST", unban, {"user_id": bob.user_id}, expect=403)
    await bob.join(room)
    assert (await bob.call("POST", ban, {"user_id": alice.user_id}, expect=403))["errcode"] == "M_FORBIDDEN"


async def test_knocking(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Whoever knocks is seen by the room, and let in or not; rooms that nobody may knock on say so."""
    knockable = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room = await alice.create_room(room_alias_name="door", name="Behind the door", initial_state=knockable)
    closed = await alice.create_room()
    assert (await bob.call("POST", v3("knock", "#door:test.example"), {"reason": "Hello?"}))["room_id"] == room
    await bob.call("POST", v3("knock", room), query={"via": "test.example"})
    knocked = (await bob.sync())["rooms"]["knock"][room]["knock_state"]["events"]

    seen = await alice.state(room, "m.room.member", bob.user_id)
    assert (seen["membership"], seen["reason"]) == ("knock", "Hello?")
    assert "m.room.name" in types(knocked)
    await alice.invite(room, bob.user_id)
    await bob.join(room)
    assert (await bob.call("POST", v3("knock", room), expect=403))["errcode"] == "M_FORBIDDEN"
    assert (await carol.call("POST", v3("knock", closed), expect=403))["errcode"] == "M_FORBIDDEN"
    assert (await carol.call("POST", v3("knock", "!no:where"), expect=404))["errcode"] == "M_NOT_FOUND"
    assert (await carol.call("POST", v3("knock", "#no:where"), expect=404))["errcode"] == "M_NOT_FOUND"
    assert (await carol.call("POST", v3("knock", "x"), expect=400))["errcode"] == "M_INVALID_PARAM"
    assert (await carol.call("POST", v3("knock", room), {"reason": []}, expect=400))["errcode"] == "M_BAD_JSON"


async def test_forgetting(alice: MatrixClient, bob: MatrixClient) -> None:
    """Only a room that one has left; then its history is gone, until one joins again."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    said = await alice.send(room, "before")
    forget = v3("rooms", room, "forget")
    assert (await bob.call("POST", forget, expect=400))["errcode"] == "M_UNKNOWN"
    await bob.leave(room)
    assert (await bob.messages(room))["chunk"]
    await bob.call("POST", forget)
    await bob.call("POST", forget)

    await bob.call("GET", v3("rooms", room, "messages"), query={"dir": "b"}, expect=403)
    await bob.call("GET", v3("rooms", room, "state"), expect=403)
    await bob.call("GET", v3("rooms", room, "event", said), expect=404)
    include_leave = {"room": {"include_leave": True}}
    assert room not in (await bob.sync(filter=include_leave)).get("rooms", {}).get("leave", {})
    await bob.join(room)
    assert (await bob.call("GET", v3("rooms", room, "event", said)))["event_id"] == said
    assert (await bob.call("POST", v3("rooms", "!no:where", "forget"), expect=404))["errcode"] == "M_NOT_FOUND"


async def test_rooms_that_one_was_invited_to_cannot_be_forgotten_but_rejected_ones_can(
    alice: MatrixClient, bob: MatrixClient
) -> None:
    room = await alice.create_room(invite=[bob.user_id])
    await bob.call("POST", v3("rooms", room, "forget"), expect=400)
    await bob.leave(room)
    await bob.call("POST", v3("rooms", room, "forget"))


# --- what stands between --------------------------------------------------------------------------------------------


async def test_suspended_people_may_only_leave_and_take_back(
    served: Served, alice: MatrixClient, bob: MatrixClient
) -> None:
    """M_USER_SUSPENDED for everything that others would see, but for leaving and redacting one's own words."""
    room, other = await alice.create_room(preset="public_chat"), await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    own, foreign = await bob.send(room, "oh"), await alice.send(room, "ah")
    await served.suspend(bob)
    refused: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", v3("createRoom"), {}),
        ("POST", v3("join", other), {}),
        ("POST", v3("rooms", other, "join"), {}),
        ("POST", v3("knock", other), {}),
        ("POST", v3("rooms", room, "invite"), {"user_id": "@x:test.example"}),
        ("POST", v3("rooms", room, "kick"), {"user_id": alice.user_id}),
        ("POST", v3("rooms", room, "ban"), {"user_id": alice.user_id}),
        ("POST", v3("rooms", room, "unban"), {"user_id": alice.user_id}),
        ("PUT", v3("rooms", room, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "x"}),
        ("PUT", v3("rooms", room, "state", "m.room.name"), {"name": "x"}),
        ("PUT", v3("rooms", room, "redact", foreign, "t2"), {}),
        ("PUT", v3("rooms", room, "redact", "$unknown", "t3"), {}),
    ]
    for method, path, body in refused:
        assert (await bob.call(method, path, body, expect=403))["errcode"] == "M_USER_SUSPENDED", path
    await bob.call("PUT", v3("rooms", room, "redact", own, "t4"))
    await bob.leave(room)
    await bob.leave(other)


async def test_limits_are_kept(house: TestHouse) -> None:
    """Rooms, joins and invites have rows of their own; who is refused is told when to come again."""
    async with serve(house, limits=True) as served:
        alice = await served.user("alice")
        rooms = [await alice.create_room(preset="public_chat") for _ in range(20)]
        refused = await alice.ask("POST", v3("createRoom"))
        assert (refused.status, refused.body["errcode"]) == (429, "M_LIMIT_EXCEEDED")
        assert refused.body["io.parley.limit"] == "room_creation"
        assert int(refused.headers["Retry-After"]) >= 1

        limits = set()
        for number in range(25):
            body = {"user_id": "@popular:test.example"}
            answer = await alice.ask("POST", v3("rooms", rooms[number % 20], "invite"), body)
            limits.add(answer.body.get("io.parley.limit"))
        assert limits == {None, "invites_target"}
