"""Room summaries and the hierarchy of spaces, each as far as the one who asks may see."""

from typing import Any

import pytest

from tests.builders.cluster import SERVER_NAME
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

UNSTABLE = "/_matrix/client/unstable/im.nheko.summary"


def summary_path(room: str) -> str:
    return v3("room_summary", room).replace("/v3/", "/v1/")


def hierarchy_path(room: str) -> str:
    return v3("rooms", room, "hierarchy").replace("/v3/", "/v1/")


async def add_child(client: MatrixClient, space: str, room: str, **content: Any) -> None:
    await client.set_state(space, "m.space.child", {"via": [SERVER_NAME], **content}, room)


async def new_space(client: MatrixClient, *rooms: str, **options: Any) -> str:
    options = {"preset": "public_chat", **options}
    space = await client.create_room(creation_content={"type": "m.space"}, **options)
    for number, room in enumerate(rooms):
        await add_child(client, space, room, order=f"{number:03}")
    return space


async def hierarchy(client: MatrixClient, room: str, **query: Any) -> list[str]:
    """The ids of all pages, in their order."""
    seen: list[str] = []
    token = None
    while True:
        page = await client.call("GET", hierarchy_path(room), query={**query, "from": token})
        seen += [one["room_id"] for one in page["rooms"]]
        token = page.get("next_batch")
        if token is None:
            return seen


async def test_a_summary_tells_what_the_room_says(alice: MatrixClient, bob: MatrixClient, served: Served) -> None:
    """By id and by alias, with the membership of who asks; also without an account, and on the paths that
    matrix-js-sdk asks."""
    room = await alice.create_room(
        preset="public_chat",
        name="Name",
        topic="Topic",
        room_alias_name="told",
        room_version="11",
        initial_state=[{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}],
    )
    told = {
        "room_id": room,
        "name": "Name",
        "topic": "Topic",
        "canonical_alias": f"#told:{SERVER_NAME}",
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
        "room_version": "11",
        "encryption": "m.megolm.v1.aes-sha2",
    }
    assert await alice.call("GET", summary_path(room)) == {**told, "membership": "join"}
    assert await bob.call("GET", summary_path(f"#told:{SERVER_NAME}")) == {**told, "membership": "leave"}
    stranger = await served.stranger()
    assert await stranger.call("GET", summary_path(room)) == told
    old = await bob.call("GET", f"{UNSTABLE}/summary/{room}")
    assert old == await bob.call("GET", f"{UNSTABLE}/rooms/{room}/summary")
    assert old["im.nheko.summary.room_version"] == old["im.nheko.summary.version"] == "11"
    assert old["im.nheko.summary.encryption"] == told["encryption"]


async def test_a_redacted_name_is_not_told(alice: MatrixClient) -> None:
    """Neither in a summary nor in the directory."""
    room = await alice.create_room(visibility="public")
    event = await alice.set_state(room, "m.room.name", {"name": "rude"})
    assert (await alice.call("GET", summary_path(room)))["name"] == "rude"
    await alice.call("PUT", v3("rooms", room, "redact", event, "t"), {})
    assert "name" not in await alice.call("GET", summary_path(room))
    (told,) = (await alice.call("GET", v3("publicRooms")))["chunk"]
    assert "name" not in told


async def rules(client: MatrixClient, room: str, join_rule: str, **content: Any) -> None:
    await client.set_state(room, "m.room.join_rules", {"join_rule": join_rule, **content})


async def seen_by(client: MatrixClient, space: str, room: str) -> tuple[bool, bool]:
    """Whether the summary tells the room, and whether the tree of a space does."""
    answer = await client.ask("GET", summary_path(room))
    assert answer.status in (200, 404)
    return answer.status == 200, room in await hierarchy(client, space)


@pytest.mark.parametrize("version", ["6", "11", "12"])
async def test_who_sees_a_room_from_outside(
    alice: MatrixClient, bob: MatrixClient, carol: MatrixClient, served: Served, version: str
) -> None:
    """The conditions of the spec, one after the other: summary and hierarchy agree."""
    room = await alice.create_room(room_version=version)
    space = await new_space(alice, room)
    modern = version != "6"

    async def others() -> list[bool]:
        told = [await seen_by(one, space, room) for one in (bob, carol)]
        assert all(summary == tree for summary, tree in told)
        return [summary for summary, _ in told]

    assert await others() == [False, False]
    await alice.invite(room, bob.user_id)
    assert await others() == [True, False]
    await bob.join(room)
    assert await others() == [True, False]
    await bob.leave(room)
    assert await others() == [False, False]
    await rules(alice, room, "public")
    assert await others() == [True, True]
    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": bob.user_id})
    assert await others() == [False, True]
    await rules(alice, room, "knock")
    assert await others() == [False, modern]
    await alice.call("POST", v3("rooms", room, "unban"), {"user_id": bob.user_id})
    club = await alice.create_room()
    allow = [{"type": "m.room_membership", "room_id": club}, {"type": "m.room_membership", "room_id": 7}, 7]
    await rules(alice, room, "restricted", allow=allow)
    assert await others() == [False, False]
    await alice.invite(club, bob.user_id)
    assert await others() == [False, False]
    await bob.join(club)
    assert await others() == [modern, False]
    if modern:
        assert (await bob.call("GET", summary_path(room)))["allowed_room_ids"] == [club]
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert await others() == [True, True]
    stranger = await served.stranger()
    await stranger.call("GET", summary_path(room))


@pytest.mark.parametrize("query", [{"room": "!nowhere:test.example"}, {"room": "!nowhere:other.example"}])
async def test_attack_41_a_summary_does_not_tell_whether_a_room_is_there(
    alice: MatrixClient, bob: MatrixClient, served: Served, query: dict[str, str]
) -> None:
    """The answer for a private room is the one for no room at all, for members of other rooms and for strangers."""
    room = await alice.create_room(name="secret", room_alias_name="secret")
    stranger = await served.stranger()
    for client in (bob, stranger):
        for path in (summary_path, lambda one: f"{UNSTABLE}/summary/{one}"):
            hidden = await client.ask("GET", path(room), query={"via": [SERVER_NAME]})
            absent = await client.ask("GET", path(query["room"]), query={"via": [SERVER_NAME]})
            assert hidden.status == absent.status == 404
            assert hidden.body == absent.body
        await client.call("GET", summary_path(f"#secret:{SERVER_NAME}"), expect=404)


async def test_attack_41_the_tree_of_a_private_space_is_closed(alice: MatrixClient, bob: MatrixClient) -> None:
    """403 for a private space as for none; and from a public one, private rooms are not told, nor what is in them."""
    public = await alice.create_room(preset="public_chat")
    private = await alice.create_room(name="secret")
    inner = await new_space(alice, public, private, preset="private_chat")
    outer = await new_space(alice, inner, private)
    for room in (inner, private, "!nowhere:test.example"):
        refused = await bob.call("GET", hierarchy_path(room), expect=403)
        assert refused["errcode"] == "M_FORBIDDEN"
    assert await hierarchy(bob, outer) == [outer]
    assert await hierarchy(alice, outer) == [outer, inner, public, private]
    await alice.call("POST", v3("rooms", outer, "ban"), {"user_id": bob.user_id})
    await bob.call("GET", hierarchy_path(outer), expect=403)


@pytest.mark.parametrize("path", ["members", "joined_members", "state", "aliases", "state/m.room.name/"])
async def test_attack_41_members_of_a_private_room_are_for_members(
    alice: MatrixClient, bob: MatrixClient, path: str
) -> None:
    """Somebody of the same server learns nothing: not as a stranger, and not as somebody who is invited or knocks."""
    room = await alice.create_room(name="secret", initial_state=[
        {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    ])  # fmt: skip
    asked = f"{v3('rooms', room)}/{path}"
    await bob.call("GET", asked, expect=403)
    await bob.call("POST", v3("knock", room))
    await bob.call("GET", asked, expect=403)
    await alice.invite(room, bob.user_id)
    await bob.call("GET", asked, expect=403)
    await bob.leave(room)
    await bob.call("GET", asked, expect=403)


async def test_a_tree_is_walked_depth_first_in_the_order_of_its_children(
    alice: MatrixClient, bob: MatrixClient
) -> None:
    """Spaces where they stand; children with an order first; each room once; what was removed is gone."""
    rooms = [await alice.create_room(preset="public_chat", name=str(number)) for number in range(6)]
    inner = await new_space(alice, rooms[0], rooms[1])
    space = await new_space(alice)
    await add_child(alice, space, rooms[2])
    await add_child(alice, space, rooms[3], order="ä is no order")
    await add_child(alice, space, rooms[4], order="~")
    await add_child(alice, space, inner, order=" ")
    await add_child(alice, space, rooms[5])
    await alice.set_state(space, "m.space.child", {}, rooms[5])
    await add_child(alice, space, rooms[0], order="!")
    await add_child(alice, space, "!nowhere:other.example", order="#")
    expected = [space, inner, rooms[0], rooms[1], rooms[4], rooms[2], rooms[3]]
    assert await hierarchy(bob, space) == expected
    assert await hierarchy(bob, space, limit=2) == expected
    assert await hierarchy(bob, space, max_depth=0) == [space]
    assert await hierarchy(bob, space, max_depth=1) == [space, inner, rooms[0], rooms[4], rooms[2], rooms[3]]
    (root,) = (await bob.call("GET", hierarchy_path(space), query={"max_depth": 0}))["rooms"]
    assert [child["state_key"] for child in root["children_state"]][:3] == [
        inner,
        rooms[0],
        "!nowhere:other.example",
    ]
    assert root["room_type"] == "m.space" and root["num_joined_members"] == 1
    assert all(
        child.keys() == {"type", "state_key", "content", "sender", "origin_server_ts"}
        for child in root["children_state"]
    )


async def test_only_suggested_rooms(alice: MatrixClient) -> None:
    """At every level, and nothing but true suggests."""
    rooms = [await alice.create_room() for _ in range(4)]
    inner = await new_space(alice, rooms[0])
    await add_child(alice, inner, rooms[1], suggested=True)
    space = await new_space(alice, rooms[2])
    await add_child(alice, space, inner, suggested=True)
    await add_child(alice, space, rooms[3], suggested="true")
    assert await hierarchy(alice, space, suggested_only=True) == [space, inner, rooms[1]]
    assert len(await hierarchy(alice, space)) == 6


async def test_loops_end(alice: MatrixClient) -> None:
    """A space in itself, two in each other, and twelve that are all in each other: each is met once."""
    space = await new_space(alice)
    await add_child(alice, space, space)
    assert await hierarchy(alice, space) == [space]
    spaces = [await new_space(alice) for _ in range(12)]
    for one in spaces:
        for other in spaces:
            await add_child(alice, one, other)
    assert sorted(await hierarchy(alice, spaces[0], limit=5)) == sorted(spaces)


async def test_tokens_of_a_walk(alice: MatrixClient) -> None:
    """ "suggested_only and max_depth cannot change on paginated requests"; what is no token is refused."""
    rooms = [await alice.create_room() for _ in range(3)]
    space = await new_space(alice, *rooms)
    path = hierarchy_path(space)
    first = await alice.call("GET", path, query={"limit": 2, "max_depth": 3})
    token = first["next_batch"]
    second = await alice.call("GET", path, query={"limit": 2, "from": token})
    assert [one["room_id"] for one in second["rooms"]] == rooms[1:]
    for changed in ({"max_depth": 4}, {"suggested_only": True}):
        refused = await alice.call("GET", path, query={"from": token, **changed}, expect=400)
        assert refused["errcode"] == "M_INVALID_PARAM"
    for wrong in ("", "w", "w1", "w1_2", "w99999_1_0", "w1_99_0", "h1_2"):
        await alice.call("GET", path, query={"from": wrong}, expect=400)
    for query in ({"limit": 0}, {"max_depth": -1}, {"limit": "x"}):
        await alice.call("GET", path, query=query, expect=400)
    far = await alice.call("GET", path, query={"from": "w1000_3_0", "max_depth": 3})
    assert far["rooms"] == []


async def test_children_that_are_no_children(alice: MatrixClient) -> None:
    """Whatever stands in m.space.child: only room ids with servers to ask count, and long contents are cut short."""
    room = await alice.create_room()
    space = await new_space(alice, room)
    for key, content in (
        ("!a:test.example", {"via": []}),
        ("!b:test.example", {"via": "test.example"}),
        ("!c:test.example", {"via": [7, "no server"]}),
        ("#d:test.example", {"via": [SERVER_NAME]}),
        ("", {"via": [SERVER_NAME]}),
        (
            "!long:test.example",
            {"via": [SERVER_NAME, "x" * 3_000], "order": "long", "suggested": True, "y": "z" * 3_000},
        ),
    ):
        await alice.set_state(space, "m.space.child", content, key)
    (root, _) = (await alice.call("GET", hierarchy_path(space)))["rooms"]
    told = {child["state_key"]: child["content"] for child in root["children_state"]}
    assert told.keys() == {room, "!long:test.example"}
    assert told["!long:test.example"] == {"via": [SERVER_NAME], "order": "long", "suggested": True}
