"""Room aliases and the room directory, as clients use them."""

import pytest

from tests.builders.cluster import SERVER_NAME
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

ELSEWHERE = "other.example"


def alias_of(name: str) -> str:
    return f"#{name}:{SERVER_NAME}"


async def put_alias(client: MatrixClient, name: str, room: str, expect: int = 200) -> dict[str, str]:
    path = v3("directory", "room", alias_of(name))
    answer: dict[str, str] = await client.call("PUT", path, {"room_id": room}, expect=expect)
    return answer


async def test_an_alias_leads_to_its_room(alice: MatrixClient, bob: MatrixClient, served: Served) -> None:
    """Set, asked for without an account, joined by, listed for members, and taken away."""
    room = await alice.create_room(preset="public_chat")
    await put_alias(alice, "garden", room)
    stranger = await served.stranger()
    found = await stranger.call("GET", v3("directory", "room", alias_of("garden")))
    assert found == {"room_id": room, "servers": [SERVER_NAME]}
    refused = await bob.call("GET", v3("rooms", room, "aliases"), expect=403)
    assert refused["errcode"] == "M_FORBIDDEN"
    assert await bob.join(alias_of("garden")) == room
    assert (await bob.call("GET", v3("rooms", room, "aliases")))["aliases"] == [alias_of("garden")]
    await alice.call("DELETE", v3("directory", "room", alias_of("garden")))
    await stranger.call("GET", v3("directory", "room", alias_of("garden")), expect=404)
    await alice.call("DELETE", v3("directory", "room", alias_of("garden")), expect=404)


async def test_an_alias_of_somebody_cannot_be_taken(alice: MatrixClient, bob: MatrixClient) -> None:
    """Alias theft: not by making it again, not for a room that one is not in, not a name of another server, and not
    by taking the other's one away first."""
    room, other = await alice.create_room(), await bob.create_room()
    await put_alias(alice, "mine", room)
    assert (await put_alias(bob, "mine", other, expect=409))["errcode"] == "M_UNKNOWN"
    await bob.call("DELETE", v3("directory", "room", alias_of("mine")), expect=403)
    await put_alias(bob, "theirs", room, expect=403)
    elsewhere = v3("directory", "room", f"#mine:{ELSEWHERE}")
    assert (await bob.call("PUT", elsewhere, {"room_id": other}, expect=400))["errcode"] == "M_INVALID_PARAM"
    await bob.call("DELETE", elsewhere, expect=404)
    await bob.call("GET", elsewhere, expect=404)
    assert (await alice.call("GET", v3("directory", "room", alias_of("mine"))))["room_id"] == room


@pytest.mark.parametrize("alias", ["garden", "#garden", "#:test.example", "#a b:test.example", "!a:test.example"])
async def test_what_is_no_alias_is_refused(alice: MatrixClient, alias: str) -> None:
    """The grammar, and that there is something to be typed."""
    room = await alice.create_room()
    refused = await alice.call("PUT", v3("directory", "room", alias), {"room_id": room}, expect=400)
    assert refused["errcode"] == "M_INVALID_PARAM"


async def test_a_room_forgets_an_alias_that_is_taken_away(alice: MatrixClient, bob: MatrixClient) -> None:
    """Whoever may name the room may take away every alias, and its canonical alias follows; the creator of an alias
    may take it away without that right, and then the room goes on to name it."""
    room = await alice.create_room(preset="public_chat", room_alias_name="first")
    await bob.join(room)
    await put_alias(bob, "second", room)
    await put_alias(bob, "third", room)
    content = {"alias": alias_of("first"), "alt_aliases": [alias_of("second"), alias_of("third")]}
    await alice.set_state(room, "m.room.canonical_alias", content)
    await bob.call("DELETE", v3("directory", "room", alias_of("first")), expect=403)
    await alice.call("DELETE", v3("directory", "room", alias_of("second")))
    standing = await alice.state(room, "m.room.canonical_alias")
    assert standing == {"alias": alias_of("first"), "alt_aliases": [alias_of("third")]}
    await bob.call("DELETE", v3("directory", "room", alias_of("third")))
    assert await alice.state(room, "m.room.canonical_alias") == standing
    await alice.call("DELETE", v3("directory", "room", alias_of("first")))
    assert await alice.state(room, "m.room.canonical_alias") == {"alt_aliases": [alias_of("third")]}


async def test_a_room_has_a_bounded_number_of_aliases(alice: MatrixClient) -> None:
    """Beyond 100 there are no more."""
    room = await alice.create_room()
    for number in range(100):
        await put_alias(alice, f"n{number}", room)
    await put_alias(alice, "more", room, expect=400)


async def published(client: MatrixClient, room: str) -> str:
    answer = await client.call("GET", v3("directory", "list", "room", room), token="")
    return str(answer["visibility"])


async def test_who_names_a_room_publishes_it(alice: MatrixClient, bob: MatrixClient) -> None:
    """Others may not, nobody who has left may, and an unknown room is told as such."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    path = v3("directory", "list", "room", room)
    assert await published(bob, room) == "private"
    await bob.call("PUT", path, {"visibility": "public"}, expect=403)
    await alice.call("PUT", path, {})
    assert await published(bob, room) == "public"
    await alice.call("PUT", path, {"visibility": "secret"}, expect=400)
    await alice.call("PUT", path, {"visibility": "private"})
    assert await published(bob, room) == "private"
    await alice.leave(room)
    await alice.call("PUT", path, {}, expect=403)
    unknown = v3("directory", "list", "room", "!nowhere:test.example")
    await alice.call("GET", unknown, expect=404)
    await alice.call("PUT", unknown, {}, expect=404)


async def test_the_directory_is_read_in_pages_both_ways(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """Rooms with most members first, then the older; forwards and back; the estimate is of all."""
    rooms = [await alice.create_room(visibility="public", name=f"Room {number}") for number in range(5)]
    await alice.create_room(name="unpublished")
    await bob.join(rooms[3])
    left = await alice.create_room(visibility="public")
    await alice.leave(left)
    order = [rooms[3], rooms[0], rooms[1], rooms[2], rooms[4]]
    stranger = await served.stranger()
    seen, tokens, since = [], [], None
    while True:
        page = await stranger.call("GET", v3("publicRooms"), query={"limit": 2, "since": since})
        assert page["total_room_count_estimate"] == 5
        assert ("prev_batch" in page) == (since is not None)
        seen.append([chunk["room_id"] for chunk in page["chunk"]])
        tokens.append(page.get("prev_batch"))
        since = page.get("next_batch")
        if since is None:
            break
    assert seen == [order[0:2], order[2:4], order[4:]]
    back = await alice.call("POST", v3("publicRooms"), {"limit": 2, "since": tokens[2]})
    assert [chunk["room_id"] for chunk in back["chunk"]] == order[2:4]
    first = await alice.call("POST", v3("publicRooms"), {"limit": 5, "since": back["prev_batch"]})
    assert [chunk["room_id"] for chunk in first["chunk"]] == order[:2] and "prev_batch" not in first
    again = await alice.call("POST", v3("publicRooms"), {"limit": 2, "since": first["next_batch"]})
    assert [chunk["room_id"] for chunk in again["chunk"]] == order[2:4]


async def test_the_directory_is_searched(alice: MatrixClient) -> None:
    """By words of name, topic and alias whatever their case, by type, and both; a search has pages too."""
    space = await alice.create_room(
        visibility="public", name="ÄPFEL", creation_content={"type": "m.space"}, topic="Obst und Bäume"
    )
    room = await alice.create_room(visibility="public", name="Birnen", topic="obst", room_alias_name="Fruits")
    await alice.create_room(visibility="public", name="Steine")

    async def search(limit: int = 10, since: str | None = None, **filter: object) -> tuple[list[str], str | None]:
        body = {"limit": limit, "filter": filter} | ({} if since is None else {"since": since})
        page = await alice.call("POST", v3("publicRooms"), body)
        return [chunk["room_id"] for chunk in page["chunk"]], page.get("next_batch")

    assert await search(generic_search_term="äpfel") == ([space], None)
    assert await search(generic_search_term="OBST") == ([space, room], None)
    assert await search(generic_search_term="fruits") == ([room], None)
    assert await search(generic_search_term="OBST", room_types=[None]) == ([room], None)
    assert await search(room_types=["m.space"]) == ([space], None)
    assert len((await search(room_types=[None, "m.space"]))[0]) == 3
    assert await search(room_types=[]) == ([], None)
    first, token = await search(1, generic_search_term="obst")
    assert first == [space] and token is not None
    assert await search(1, token, generic_search_term="obst") == ([room], None)


async def test_what_the_directory_tells_of_a_room(alice: MatrixClient) -> None:
    """The spec's members with the spec's types, whatever stands in the room's state."""
    room = await alice.create_room(
        visibility="public",
        name="Name",
        topic="Topic",
        room_alias_name="told",
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.avatar", "content": {"url": "mxc://test.example/abc"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
        ],
    )
    (told,) = (await alice.call("GET", v3("publicRooms")))["chunk"]
    assert told == {
        "room_id": room,
        "num_joined_members": 1,
        "world_readable": True,
        "guest_can_join": True,
        "join_rule": "public",
        "name": "Name",
        "topic": "Topic",
        "avatar_url": "mxc://test.example/abc",
        "canonical_alias": alias_of("told"),
        "room_type": "m.space",
    }
    for type, content in (
        ("m.room.name", {"name": [1]}),
        ("m.room.topic", {"topic": {"a": 1}, "m.topic": {"m.text": [7, {"mimetype": "text/html", "body": "x"}]}}),
        ("m.room.avatar", {"url": "https://evil.example/"}),
        ("m.room.history_visibility", {"history_visibility": 7}),
        ("m.room.guest_access", {}),
    ):
        await alice.set_state(room, type, content)
    (told,) = (await alice.call("GET", v3("publicRooms")))["chunk"]
    assert told.keys() == {
        "room_id", "num_joined_members", "world_readable", "guest_can_join", "join_rule", "canonical_alias", "room_type"
    }  # fmt: skip


@pytest.mark.parametrize("since", ["", "x", "n", "n1", "n1_", "n_1", "p-1_2", "n1_2_3", "n²_1", "n" + 40 * "9" + "_1"])
async def test_tokens_that_nobody_made_are_refused(alice: MatrixClient, since: str) -> None:
    """With 400, never with a page."""
    refused = await alice.call("GET", v3("publicRooms"), query={"since": since}, expect=400)
    assert refused["errcode"] == "M_INVALID_PARAM"


async def test_other_servers_cannot_be_asked_without_federation(alice: MatrixClient) -> None:
    """The own name is the own directory; another one is not found."""
    await alice.call("GET", v3("publicRooms"), query={"server": SERVER_NAME})
    await alice.call("GET", v3("publicRooms"), query={"server": ELSEWHERE}, expect=404)
    await alice.call("POST", v3("publicRooms"), {}, query={"server": "no server"}, expect=400)
