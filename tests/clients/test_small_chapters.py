"""Tags, reports, mutual rooms, third-party networks, calls: small chapters of the client-server API."""

import hmac
from base64 import b64encode
from hashlib import sha1

from homeserver.services.rooms.mutual_rooms import MutualRooms
from homeserver.services.rooms.reports import MAX_REASON_BYTES, MAX_REPORTS
from homeserver.services.turn import TurnServer
from homeserver.storage.reports import Report
from tests.builders.machine import HandClock
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3


def tags_path(client: MatrixClient, room: str, *tag: str) -> str:
    return v3("user", client.user_id, "rooms", room, "tags", *tag)


async def test_tags_come_and_go(alice: MatrixClient) -> None:
    """Set, changed, read, removed; each change is one m.tag in the room's account data."""
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    assert await alice.call("GET", tags_path(alice, room)) == {"tags": {}}
    await alice.call("PUT", tags_path(alice, room, "m.favourite"), {"order": 0.25})
    await alice.call("PUT", tags_path(alice, room, "u.Büro"), {})
    tags = {"m.favourite": {"order": 0.25}, "u.Büro": {}}
    assert await alice.call("GET", tags_path(alice, room)) == {"tags": tags}
    synced = await alice.sync(since)
    (event,) = synced["rooms"]["join"][room]["account_data"]["events"]
    assert event == {"type": "m.tag", "content": {"tags": tags}}
    await alice.call("DELETE", tags_path(alice, room, "m.favourite"))
    await alice.call("DELETE", tags_path(alice, room, "m.favourite"))
    assert await alice.call("GET", tags_path(alice, room)) == {"tags": {"u.Büro": {}}}


async def test_tags_that_cannot_be(alice: MatrixClient, bob: MatrixClient) -> None:
    """Of somebody else, of an unknown room, with a name or an order that none has, and too many."""
    room = await alice.create_room()
    await bob.call("PUT", tags_path(alice, room, "a"), {}, expect=403)
    await bob.call("GET", tags_path(alice, room), expect=403)
    await alice.call("PUT", tags_path(alice, "!nowhere:test.example", "a"), {}, expect=404)
    await alice.call("PUT", tags_path(alice, room, "ü" * 128), {}, expect=400)
    for order in (-0.1, 1.1, "1", None, True):
        await alice.call("PUT", tags_path(alice, room, "a"), {"order": order}, expect=400)
    await alice.call("PUT", tags_path(alice, room, "a"), {"x": "y" * 5_000}, expect=413)
    for number in range(100):
        await alice.call("PUT", tags_path(alice, room, f"u.{number}"), {})
    await alice.call("PUT", tags_path(alice, room, "u.more"), {}, expect=413)


async def test_tags_that_a_client_set_as_a_whole(alice: MatrixClient) -> None:
    """m.tag is account data too: whatever stands there is read as far as it is tags."""
    room = await alice.create_room()
    whole = v3("user", alice.user_id, "rooms", room, "account_data", "m.tag")
    await alice.call("PUT", whole, {"tags": [1]})
    assert await alice.call("GET", tags_path(alice, room)) == {"tags": {}}
    await alice.call("PUT", whole, {"tags": {"a": {"order": "x", "y": 1}, "b": 7}})
    assert await alice.call("GET", tags_path(alice, room)) == {"tags": {"a": {"y": 1}}}


async def test_the_fully_read_marker_has_an_endpoint_of_its_own(alice: MatrixClient) -> None:
    """ "it cannot be modified by clients" through account data; through read_markers it can, with receipts."""
    room = await alice.create_room()
    event = await alice.send(room, "hello")
    own = v3("user", alice.user_id, "rooms", room, "account_data", "m.fully_read")
    await alice.call("PUT", own, {"event_id": event}, expect=405)
    since = (await alice.sync())["next_batch"]
    await alice.call("POST", v3("rooms", room, "read_markers"), {"m.fully_read": event, "m.read": event})
    joined = (await alice.sync(since))["rooms"]["join"][room]
    assert joined["account_data"]["events"] == [{"type": "m.fully_read", "content": {"event_id": event}}]
    assert event in joined["ephemeral"]["events"][0]["content"]
    unread = v3("user", alice.user_id, "rooms", room, "account_data", "m.marked_unread")
    await alice.call("PUT", unread, {"unread": True})
    assert await alice.call("GET", unread) == {"unread": True}


async def reports(served: Served) -> list[Report]:
    found = await served.house.database.read(lambda store: store.reports.list_newest(1_000))
    if found:
        number, oldest = found[-1]
        place = (oldest.ts, number)
        assert not await served.house.database.read(lambda store: store.reports.list_newest(1, place))
    return [report for _, report in found]


async def test_what_is_reported_is_kept_for_the_administrators(served: Served, alice: MatrixClient) -> None:
    """Rooms and users by anybody, events by members; what is not there is thanked for and thrown away."""
    bob = await served.user("bob")
    room = await alice.create_room(preset="public_chat")
    event = await alice.send(room, "rude")
    await bob.call("POST", v3("rooms", room, "report", event), {"reason": "no"}, expect=404)
    await bob.call("POST", v3("rooms", room, "report"), {"reason": ""})
    await bob.call("POST", v3("users", alice.user_id, "report"), {"reason": "spam \0"})
    await bob.call("POST", v3("users", "@nobody:test.example", "report"), {"reason": "ghost"})
    await bob.call("POST", v3("rooms", "!nowhere:test.example", "report"), {"reason": "ghost"})
    await bob.join(room)
    await bob.call("POST", v3("rooms", room, "report", event), {"score": -100})
    await bob.call("POST", v3("rooms", room, "report", event), {"reason": "better said"})
    await bob.call("POST", v3("rooms", room, "report", "$nothing"), {}, expect=404)
    kept = {(one.room_id, one.event_id, one.user_id): (one.reporter, one.reason) for one in await reports(served)}
    assert kept == {
        (room, "", ""): (bob.user_id, ""),
        ("", "", alice.user_id): (bob.user_id, "spam "),
        (room, event, alice.user_id): (bob.user_id, "better said"),
    }


async def test_reports_are_bounded(served: Served, alice: MatrixClient) -> None:
    """In length, and in number: of one user the newest stay, however many are sent."""
    await alice.call("POST", v3("users", alice.user_id, "report"), {"reason": "x" * (MAX_REASON_BYTES + 1)}, expect=400)
    await alice.call("POST", v3("users", alice.user_id, "report"), {}, expect=400)
    house = served.house.services
    for number in range(MAX_REPORTS + 20):
        await house.reports.report_user(alice.user_id, f"@user{number}:other.example", "x")
    kept = await reports(served)
    assert len(kept) == MAX_REPORTS
    assert f"@user{MAX_REPORTS + 19}:other.example" in {one.user_id for one in kept}


MUTUAL = "/_matrix/client/v1/mutual_rooms"
OLD_MUTUAL = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


async def test_mutual_rooms_are_those_of_both(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Only joined ones; of somebody unknown none; of oneself it is an error."""
    shared = await alice.create_room(preset="public_chat")
    await bob.join(shared)
    await alice.create_room(invite=[bob.user_id])
    left = await alice.create_room(preset="public_chat")
    await bob.join(left)
    await bob.leave(left)
    for path in (MUTUAL, OLD_MUTUAL):
        answer = await alice.call("GET", path, query={"user_id": bob.user_id})
        assert answer == {"joined": [shared], "count": 1}
    empty = {"joined": [], "count": 0}
    assert await carol.call("GET", MUTUAL, query={"user_id": bob.user_id}) == empty
    assert await carol.call("GET", MUTUAL, query={"user_id": "@nobody:other.example"}) == empty
    await alice.call("GET", MUTUAL, expect=400)
    for wrong in (alice.user_id, "bob", ""):
        await alice.call("GET", MUTUAL, query={"user_id": wrong}, expect=400)
    for token in ("", "m", "1", "mx", "m-1", "m" + "9" * 40):
        await alice.call("GET", MUTUAL, query={"user_id": bob.user_id, "from": token}, expect=400)


async def test_mutual_rooms_have_pages(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """Each room once; the count is of all."""
    rooms = []
    for _ in range(5):
        rooms.append(await alice.create_room(preset="public_chat"))
        await bob.join(rooms[-1])
    mutual = MutualRooms(served.house.database, page=2)
    pages: list[list[str]] = []
    token: str | None = None
    while not pages or token is not None:
        page = await mutual.page(alice.user_id, bob.user_id, token)
        assert page.count == 5
        pages.append(page.joined)
        token = page.next_batch
    assert pages == [rooms[:2], rooms[2:4], rooms[4:]]


async def test_there_are_no_third_party_networks(alice: MatrixClient) -> None:
    """Empty lists, and 404 for a protocol that somebody names."""
    assert await alice.call("GET", v3("thirdparty", "protocols")) == {}
    for kind in ("protocol", "location", "user"):
        await alice.call("GET", v3("thirdparty", kind, "irc"), expect=404)
    assert await alice.call("GET", v3("thirdparty", "location"), query={"alias": "#irc:test.example"}) == []
    assert await alice.call("GET", v3("thirdparty", "user"), query={"userid": "@irc:test.example"}) == []
    await alice.call("GET", v3("thirdparty", "user"), expect=400)


async def test_without_a_turn_server_calls_are_told_of_none(alice: MatrixClient) -> None:
    """Nothing at all: browsers refuse an empty list of URIs."""
    assert await alice.call("GET", v3("voip", "turnServer")) == {}


def test_the_credentials_are_those_that_coturn_expects() -> None:
    """The name begins with the time of expiry, and the password is its HMAC under the shared secret."""
    clock = HandClock()
    turn = TurnServer(clock, uris=["turn:turn.example:3478"], secret="sesame", lifetime=600)
    made = turn.credentials("@alice:test.example")
    assert made.username == f"{clock.now_ms() // 1000 + 600}:@alice:test.example"
    assert made.password == b64encode(hmac.digest(b"sesame", made.username.encode(), sha1)).decode()
    assert (list(made.uris), made.lifetime) == (["turn:turn.example:3478"], 600)
    assert "sesame" not in repr(made)


async def test_a_room_in_one_answer(alice: MatrixClient, bob: MatrixClient) -> None:
    """State, newest events in their order with tokens on both sides, and what the user keeps; for members, for those
    who left, and for anybody if the world may read it."""
    room = await alice.create_room(preset="public_chat", visibility="public")
    path = v3("rooms", room, "initialSync")
    await bob.call("GET", path, expect=403)
    sent = [await alice.send(room, f"m{number}") for number in range(30)]
    await alice.call("PUT", tags_path(alice, room, "a"), {})
    whole = await alice.call("GET", path)
    assert (whole["room_id"], whole["membership"], whole["visibility"]) == (room, "join", "public")
    assert [event["event_id"] for event in whole["messages"]["chunk"]] == sent[10:]
    assert {event["type"] for event in whole["state"]} >= {"m.room.create", "m.room.member"}
    assert whole["account_data"] == [{"type": "m.tag", "content": {"tags": {"a": {}}}}]
    before = await alice.messages(room, whole["messages"]["start"], limit=1)
    assert before["chunk"][0]["event_id"] == sent[9]
    await alice.send(room, "later")
    after = await alice.messages(room, whole["messages"]["end"], dir="f")
    assert [event["content"].get("body") for event in after["chunk"]] == ["later"]
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    peeked = await bob.call("GET", path)
    assert "membership" not in peeked and peeked["account_data"] == []
    await bob.join(room)
    await bob.leave(room)
    assert (await bob.call("GET", path))["membership"] == "leave"


async def test_an_event_by_its_id_alone(alice: MatrixClient, bob: MatrixClient) -> None:
    """As with its room: who may not see it is told that it is not there."""
    room = await alice.create_room()
    event = await alice.send(room, "hello")
    found = await alice.call("GET", v3("events", event))
    assert found["content"]["body"] == "hello" and found["room_id"] == room
    hidden = await bob.call("GET", v3("events", event), expect=404)
    absent = await bob.call("GET", v3("events", "$nothing"), expect=404)
    assert hidden["errcode"] == absent["errcode"] == "M_NOT_FOUND"
