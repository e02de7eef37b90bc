"""Guests: what they get, what they may ask for, which rooms they may be in, and how they stop being guests.

https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from config.compose.guests import build_departures
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.house import TestHouse
from tests.builders.waiting import until
from tests.clients.conftest import Served, serve
from tests.clients.endpoints.conftest import open_door
from tests.conformance.client import MatrixClient, v3
from tests.fuzz.routes import declared_routes

GUEST_ACCESS = "m.room.guest_access"
OPEN, CLOSED = {"guest_access": "can_join"}, {"guest_access": "forbidden"}
# The list of the spec, name by name, under /_matrix/client; and the ways in which a path may leave out a state key.
FOR_GUESTS = """
GET v3/rooms/{roomId}/state
GET v3/rooms/{roomId}/context/{eventId}
GET v3/rooms/{roomId}/event/{eventId}
GET v3/rooms/{roomId}/state/{eventType}/{stateKey}
GET v3/rooms/{roomId}/state/{eventType}/
GET v3/rooms/{roomId}/state/{eventType}
GET v3/rooms/{roomId}/messages
GET v3/rooms/{roomId}/members
GET v3/rooms/{roomId}/initialSync
GET v3/sync
GET v3/events
GET v1/media/download/{serverName}/{mediaId}
GET v1/media/download/{serverName}/{mediaId}/{fileName}
GET v1/media/thumbnail/{serverName}/{mediaId}
POST v3/rooms/{roomId}/join
POST v3/rooms/{roomId}/leave
PUT v3/rooms/{roomId}/send/{eventType}/{txnId}
PUT v3/rooms/{roomId}/state/{eventType}/{stateKey}
PUT v3/rooms/{roomId}/state/{eventType}/
PUT v3/rooms/{roomId}/state/{eventType}
PUT v3/sendToDevice/{eventType}/{txnId}
PUT v3/profile/{userId}/{keyName}
DELETE v3/profile/{userId}/{keyName}
GET v3/devices
GET v3/devices/{deviceId}
PUT v3/devices/{deviceId}
GET v3/account/whoami
POST v3/keys/upload
POST v3/keys/query
POST v3/keys/claim
"""


def nameless(path: str) -> str:
    return re.sub(r"\{[^/]+?\}", "{}", path)


def listed() -> set[tuple[str, str]]:
    pairs = (line.split(" ") for line in FOR_GUESTS.split("\n") if line)
    return {(method, "/_matrix/client/" + nameless(path)) for method, path in pairs}


async def refused(client: MatrixClient, method: str, path: str, body: Any = None, **how: Any) -> str:
    """The error code of an answer 403."""
    answer = await client.call(method, path, body, expect=403, **how)
    code = answer["errcode"]
    assert isinstance(code, str)
    return code


async def enter(client: MatrixClient, room: str) -> None:
    """Join in the way that is open to guests."""
    await client.call("POST", v3("rooms", room, "join"))


async def open_room(host: MatrixClient, **options: Any) -> str:
    """A public room that admits guests."""
    state = [{"type": GUEST_ACCESS, "state_key": "", "content": OPEN}]
    return await host.create_room(preset="public_chat", initial_state=state, **options)


async def membership(client: MatrixClient, room: str, user_id: str) -> str | None:
    """As another member sees it."""
    answer = await client.call("GET", v3("rooms", room, "state", "m.room.member", user_id), expect=None)
    found = answer.get("membership")
    assert found is None or isinstance(found, str)
    return found


@asynccontextmanager
async def departures(house: TestHouse) -> AsyncIterator[None]:
    """Guests are made to leave meanwhile, as the process sees to it."""
    follower = build_departures(house.database, house.streams, house.services.writer)
    running = asyncio.create_task(follower.run())
    await until(lambda: has_begun(house), what="the follower has begun")
    try:
        yield
    finally:
        follower.stop()
        await running


async def has_begun(house: TestHouse) -> bool:
    return await house.database.read(lambda store: store.cursors.find("guest departures")) is not None


# -- becoming a guest


async def test_a_guest_gets_a_name_a_device_and_a_token(served: Served) -> None:
    """ "All parameters in the request body with the exception of initial_device_display_name MUST BE ignored"."""
    client = await served.stranger()
    body = {"username": "alice", "password": "x", "device_id": "MINE", "inhibit_login": True, "auth": {"type": "no"}}
    told = await client.register_guest(**body, guest_access_token=7, initial_device_display_name="A phone")

    assert told["user_id"] != f"@alice:{SERVER_NAME}" and told["device_id"] != "MINE"
    assert await client.call("GET", v3("account", "whoami")) == {
        "user_id": told["user_id"],
        "device_id": told["device_id"],
        "is_guest": True,
    }
    name = await served.house.database.read(
        lambda store: store.transaction.text("SELECT display_name FROM devices WHERE user_id = %s", told["user_id"])
    )
    assert name == [("A phone",)]
    other = await served.guest()
    assert other.user_id != client.user_id


async def test_a_guest_needs_no_body(served: Served) -> None:
    """Whoever says nothing is a guest too; a name of a device that is none is refused."""
    client = await served.stranger()
    query = {"kind": "guest"}
    assert "access_token" in await client.call("POST", v3("register"), b"", query=query)
    await client.call("POST", v3("register"), {"initial_device_display_name": 7}, query=query, expect=400)
    await client.call("POST", v3("register"), {"initial_device_display_name": "x" * 300}, query=query, expect=400)


async def test_nobody_logs_in_as_a_guest(served: Served) -> None:
    """There is no password, not even an empty one."""
    guest = await served.guest()
    for password in ("", "None", "null"):
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": guest.user_id},
            "password": password,
        }
        assert await refused(guest, "POST", v3("login"), body, token="") == "M_FORBIDDEN"


@pytest.mark.parametrize("policy", ["open", "token", "closed"])
async def test_guests_are_not_for_every_server(cluster: Cluster, policy: str) -> None:
    """Whatever the policy for members is, it says nothing of guests: they are off unless they were switched on."""
    async with open_door(cluster, policy=policy) as opened, MatrixClient(opened.url) as client:
        code = await refused(client, "POST", v3("register"), query={"kind": "guest"})
        assert code == "M_GUEST_ACCESS_FORBIDDEN"
    async with open_door(cluster, policy=policy, guests=True) as opened, MatrixClient(opened.url) as client:
        await client.register_guest()


async def test_guests_are_made_slowly(cluster: Cluster) -> None:
    """An address makes ten at once, and then one every five seconds."""
    async with open_door(cluster, limits=True, guests=True) as opened, MatrixClient(opened.url) as client:
        for _ in range(10):
            await client.register_guest()
        answer = await client.call("POST", v3("register"), query={"kind": "guest"}, token="", expect=429)
        assert answer["io.parley.limit"] == "registration"


# -- what they may ask for


async def test_every_endpoint_that_needs_a_user_knows_guests(served: Served) -> None:
    """What the spec lists is open to guests, and everything else that needs a user is not, whatever it is."""
    guest, stranger = await served.guest(), await served.stranger()
    wrong = []
    for route in declared_routes():
        path = re.sub(r"\{[^/]+?\}", "displayname", route.path)
        without = await stranger.ask(route.method, path)
        if without.status != 401 or without.body.get("errcode") != "M_MISSING_TOKEN":
            continue
        answer = await guest.ask(route.method, path)
        is_refused = answer.status == 403 and answer.body["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
        if is_refused == ((route.method, nameless(route.path)) in listed()):
            wrong.append(f"{route.method} {route.path}: {answer.status}")
    assert not wrong


async def test_a_guest_by_a_token_in_the_query(served: Served) -> None:
    """A token in the query is the same guest."""
    guest = await served.guest()
    query = {"access_token": guest.token}
    assert await refused(guest, "GET", v3("joined_rooms"), token="", query=query) == "M_GUEST_ACCESS_FORBIDDEN"


async def test_guests_and_what_strangers_may_ask(served: Served, alice: MatrixClient) -> None:
    """Rooms are looked up as without a token; an account that a guest has not is neither changed nor closed."""
    guest = await served.guest()
    room = await open_room(alice, name="Lobby")
    summary = await guest.call("GET", f"/_matrix/client/v1/room_summary/{room}")
    assert (summary["name"], summary["guest_can_join"]) == ("Lobby", True)
    await guest.call("GET", v3("publicRooms"))
    for path in (v3("account", "password"), v3("account", "deactivate")):
        assert await refused(guest, "POST", path, {"new_password": "x"}) == "M_GUEST_ACCESS_FORBIDDEN"


async def test_guests_have_names_and_no_more(served: Served, alice: MatrixClient) -> None:
    """ "Guest users may only modify their display name; other profile fields may not be changed."."""
    guest = await served.guest()
    own = v3("profile", guest.user_id)
    await guest.call("PUT", f"{own}/displayname", {"displayname": "Passer-by"})
    assert await alice.call("GET", own) == {"displayname": "Passer-by"}
    for key, value in (("avatar_url", "mxc://a/b"), ("m.tz", "Europe/Paris"), ("org.example.x", 1)):
        assert await refused(guest, "PUT", f"{own}/{key}", {key: value}) == "M_GUEST_ACCESS_FORBIDDEN"
        assert await refused(guest, "DELETE", f"{own}/{key}") == "M_GUEST_ACCESS_FORBIDDEN"
    # However it is written, the other key is another key.
    await guest.call("PUT", f"{own}/display%6Eame", {"displayname": "Somebody"})
    assert await refused(guest, "PUT", f"{own}/displayname%2F", {"displayname/": "x"}) == "M_GUEST_ACCESS_FORBIDDEN"
    await guest.call("DELETE", f"{own}/displayname")
    assert await alice.call("GET", own) == {}


async def test_guests_have_a_limit_of_their_own(house: TestHouse) -> None:
    """What a guest sends is counted, besides what everybody is counted for; reading is not."""
    async with serve(house, limits=True, rows={"guests": {"per_second": 0.001, "burst": 3}}) as served:
        alice, guest = await served.user("alice"), await served.guest()
        room = await open_room(alice)
        await enter(guest, room)
        for text in ("one", "two"):
            await guest.send(room, text)
        answer = await guest.call("PUT", v3("rooms", room, "send", "m.room.message", "x"), expect=429)
        assert answer["io.parley.limit"] == "guests"
        for _ in range(5):
            await guest.state(room)
            await alice.send(room, "members go on")


# -- rooms


async def test_a_guest_joins_a_room_for_guests(served: Served, alice: MatrixClient) -> None:
    """There the guest reads, writes, and leaves like anybody; the name is shown."""
    guest = await served.guest()
    await guest.call("PUT", v3("profile", guest.user_id, "displayname"), {"displayname": "Passer-by"})
    room = await open_room(alice, power_level_content_override={"events": {"m.room.topic": 0}})
    await enter(guest, room)
    said = await guest.send(room, "Hello")
    await guest.send(room, {"any": "type"}, "org.example.type")
    await guest.set_state(room, "m.room.topic", {"topic": "of a guest"})
    assert (await guest.sync())["rooms"]["join"].keys() == {room}
    assert said in [event["event_id"] for event in (await alice.messages(room))["chunk"]]
    assert (await alice.state(room, "m.room.member", guest.user_id))["displayname"] == "Passer-by"
    await guest.leave(room)
    assert await membership(alice, room, guest.user_id) == "leave"


@pytest.mark.parametrize("content", [None, CLOSED, {}, {"guest_access": True}, {"guest_access": "CAN_JOIN"}])
async def test_a_guest_joins_no_other_room(served: Served, alice: MatrixClient, content: Any) -> None:
    """ "If this event is absent, servers should act as if it is present and has the guest_access value forbidden"."""
    guest = await served.guest()
    state = [] if content is None else [{"type": GUEST_ACCESS, "state_key": "", "content": content}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    assert await refused(guest, "POST", v3("rooms", room, "join")) == "M_GUEST_ACCESS_FORBIDDEN"
    assert await membership(alice, room, guest.user_id) is None
    await (await served.user("bob")).join(room)


async def test_guests_are_invited(served: Served, alice: MatrixClient) -> None:
    """An invite opens a private room to a guest if it is for guests; any invite can be rejected."""
    guest = await served.guest()
    room = await alice.create_room(preset="private_chat")
    assert await refused(guest, "POST", v3("rooms", room, "join")) == "M_FORBIDDEN"
    await alice.invite(room, guest.user_id)
    await enter(guest, room)
    assert await membership(alice, room, guest.user_id) == "join"
    closed = await alice.create_room(preset="private_chat")
    await alice.set_state(closed, GUEST_ACCESS, CLOSED)
    await alice.invite(closed, guest.user_id)
    assert await refused(guest, "POST", v3("rooms", closed, "join")) == "M_GUEST_ACCESS_FORBIDDEN"
    await guest.leave(closed)
    assert await membership(alice, closed, guest.user_id) == "leave"


async def test_guests_look_into_rooms_that_are_open_to_the_world(served: Served, alice: MatrixClient) -> None:
    """Without joining, and even where no guest may join; other rooms they do not see."""
    guest = await served.guest()
    world = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "world_readable"}}
    room = await alice.create_room(preset="public_chat", initial_state=[world], name="Square")
    said = await alice.send(room, "Hear, hear")
    at = v3("rooms", room)
    assert any(event["type"] == "m.room.create" for event in await guest.state(room))
    assert await guest.state(room, "m.room.name") == {"name": "Square"}
    assert (await guest.messages(room))["chunk"][0]["event_id"] == said
    assert len((await guest.call("GET", f"{at}/members"))["chunk"]) == 1
    assert (await guest.call("GET", f"{at}/event/{said}"))["event_id"] == said
    assert (await guest.call("GET", f"{at}/context/{said}"))["event"]["event_id"] == said
    assert (await guest.call("GET", f"{at}/initialSync"))["room_id"] == room
    hidden = await open_room(alice)
    for path in ("state", "messages", "members", "initialSync"):
        query = {"dir": "b"} if path == "messages" else None
        assert await refused(guest, "GET", v3("rooms", hidden, path), query=query) == "M_FORBIDDEN"


# -- rooms that are for guests no more


@pytest.mark.parametrize("content", [CLOSED, {}])
async def test_guests_leave_when_a_room_is_closed_to_them(
    served: Served, alice: MatrixClient, bob: MatrixClient, content: Any
) -> None:
    """All guests of ours, each by an event of their own; nobody else."""
    guests = [await served.guest() for _ in range(3)]
    async with departures(served.house):
        room, other = await open_room(alice), await open_room(alice)
        for one in (bob, *guests):
            await enter(one, room)
            await enter(one, other)
        await alice.set_state(room, GUEST_ACCESS, content)
        for guest in guests:
            await until(partial(_has_left, alice, room, guest), what="the guest leaves")
    for guest in guests:
        event = (await alice.call("GET", v3("rooms", room, "state", "m.room.member", guest.user_id),
                                  query={"format": "event"}))  # fmt: skip
        assert event["sender"] == guest.user_id
        assert room in (await guest.sync(filter={"room": {"include_leave": True}}))["rooms"]["leave"]
        assert await refused(guest, "PUT", v3("rooms", room, "send", "m.room.message", "t"),
                             {"msgtype": "m.text", "body": "?"}) == "M_FORBIDDEN"  # fmt: skip
        assert await refused(guest, "POST", v3("rooms", room, "join")) == "M_GUEST_ACCESS_FORBIDDEN"
        assert await membership(alice, other, guest.user_id) == "join"
    assert await membership(alice, room, bob.user_id) == "join"


async def test_guests_leave_after_a_restart(served: Served, alice: MatrixClient) -> None:
    """What happened while nobody looked is not forgotten; a room that was opened again meanwhile keeps its guests."""
    guest = await served.guest()
    async with departures(served.house):
        room, opened = await open_room(alice), await open_room(alice)
        for one in (room, opened):
            await enter(guest, one)
    await alice.set_state(room, GUEST_ACCESS, CLOSED)
    await alice.set_state(opened, GUEST_ACCESS, CLOSED)
    await alice.set_state(opened, GUEST_ACCESS, OPEN)
    assert await membership(alice, room, guest.user_id) == "join"
    async with departures(served.house):
        await until(lambda: _has_left(alice, room, guest), what="the guest leaves")
    assert await membership(alice, opened, guest.user_id) == "join"


async def test_a_member_who_was_a_guest_stays(served: Served, alice: MatrixClient) -> None:
    """Who has an account by the time the room is closed to guests is no guest."""
    guest, still = await served.guest(), await served.guest()
    async with departures(served.house):
        room = await open_room(alice)
        for one in (guest, still):
            await enter(one, room)
        await upgrade(guest)
        await alice.set_state(room, GUEST_ACCESS, CLOSED)
        await until(lambda: _has_left(alice, room, still), what="the guest leaves")
    assert await membership(alice, room, guest.user_id) == "join"


async def _has_left(witness: MatrixClient, room: str, guest: MatrixClient) -> bool:
    return await membership(witness, room, guest.user_id) == "leave"


# -- becoming a member


def registration(guest: MatrixClient, **fields: Any) -> dict[str, Any]:
    """What makes a guest a member."""
    name = guest.user_id[1:].partition(":")[0]
    return {
        "username": name,
        "password": "correct horse",
        "guest_access_token": guest.token,
        "auth": {"type": "m.login.dummy"},
        **fields,
    }


async def upgrade(guest: MatrixClient, **fields: Any) -> None:
    """The client goes on as the member that it is now."""
    told = await guest.call("POST", v3("register"), registration(guest, **fields), token="")
    assert told["user_id"] == guest.user_id
    guest.token, guest.device_id = told["access_token"], told["device_id"]


async def test_a_guest_becomes_a_member(served: Served, alice: MatrixClient) -> None:
    """The id, the rooms and the name stay; the guest's token ends, and a password opens the account."""
    guest = await served.guest()
    await guest.call("PUT", v3("profile", guest.user_id, "displayname"), {"displayname": "Passer-by"})
    room = await open_room(alice)
    await enter(guest, room)
    await refused(guest, "GET", v3("joined_rooms"))
    old, device = guest.token, guest.device_id

    await upgrade(guest)
    assert guest.device_id != device
    assert (await guest.call("GET", v3("account", "whoami")))["is_guest"] is False
    assert await guest.call("GET", v3("joined_rooms")) == {"joined_rooms": [room]}
    assert await guest.call("GET", v3("profile", guest.user_id, "displayname")) == {"displayname": "Passer-by"}
    ended = await guest.call("GET", v3("sync"), token=old, expect=401)
    assert ended["errcode"] == "M_UNKNOWN_TOKEN"
    await guest.create_room()
    await guest.login(guest.user_id)
    again = await guest.call("POST", v3("register"), registration(guest, guest_access_token=old), expect=403)
    assert again["errcode"] == "M_FORBIDDEN"


async def test_the_device_of_a_guest_goes_on(served: Served) -> None:
    """If the client names it; its token is a new one all the same."""
    guest = await served.guest()
    old, device = guest.token, guest.device_id
    await upgrade(guest, device_id=device)
    assert guest.device_id == device
    await guest.call("GET", v3("sync"), token=old, expect=401)
    assert (await guest.call("GET", v3("account", "whoami")))["device_id"] == device


async def test_becoming_a_member_in_stages_without_login(served: Served) -> None:
    """The ordinary register flow: stages, and no session if none is wanted."""
    guest = await served.guest()
    body = registration(guest, inhibit_login=True)
    del body["auth"]
    asked = await guest.call("POST", v3("register"), body, token="", expect=401)
    auth = {"type": "m.login.dummy", "session": asked["session"]}
    told = await guest.call("POST", v3("register"), {**body, "auth": auth}, token="")
    assert told == {"user_id": guest.user_id}
    await guest.call("GET", v3("sync"), expect=401)
    await guest.login(guest.user_id)


async def test_whose_token_makes_nobody_a_member(served: Served, alice: MatrixClient) -> None:
    """Tokens of nobody, of members and of other guests; a name must be there, and be the guest's."""
    guest, other = await served.guest(), await served.guest()
    name = other.user_id[1:].partition(":")[0]
    for fields in (
        {"guest_access_token": "nonsense"},
        {"guest_access_token": other.token},
        {"guest_access_token": alice.token, "username": "alice"},
        {"guest_access_token": alice.token},
        {"username": name},
        {"username": "alice"},
        {"username": "somebody-new"},
        {"username": guest.user_id},
    ):
        assert await refused(guest, "POST", v3("register"), registration(guest, **fields), token="") == "M_FORBIDDEN"
    for body, code in (
        (registration(guest, username=None), "M_MISSING_PARAM"),
        (registration(guest, guest_access_token=7), "M_BAD_JSON"),
    ):
        assert (await guest.call("POST", v3("register"), body, token="", expect=400))["errcode"] == code
    # Without the token, the name of a guest is somebody's.
    body = registration(guest, guest_access_token=None)
    assert (await guest.call("POST", v3("register"), body, token="", expect=400))["errcode"] == "M_USER_IN_USE"
    assert (await guest.call("GET", v3("account", "whoami")))["is_guest"] is True


async def test_a_guest_becomes_a_member_once(served: Served) -> None:
    """Two at once with one token: one of them sets the password, the other is refused."""
    guest = await served.guest()
    bodies = [registration(guest, password=f"password {number}") for number in range(4)]
    answers = await asyncio.gather(*(guest.ask("POST", v3("register"), body, token="") for body in bodies))
    assert sorted(answer.status for answer in answers) == [200, 403, 403, 403]
    (won,) = (number for number, answer in enumerate(answers) if answer.status == 200)
    await guest.login(guest.user_id, f"password {won}")


async def test_where_nobody_registers_no_guest_becomes_a_member(cluster: Cluster) -> None:
    """Being a guest is no way around the policy."""
    async with open_door(cluster, policy="closed", guests=True) as opened, MatrixClient(opened.url) as guest:
        await guest.register_guest()
        assert await refused(guest, "POST", v3("register"), registration(guest), token="") == "M_FORBIDDEN"
    async with open_door(cluster, policy="token", guests=True) as opened, MatrixClient(opened.url) as guest:
        await guest.register_guest()
        asked = await guest.call("POST", v3("register"), registration(guest), token="", expect=401)
        assert asked["flows"] == [{"stages": ["m.login.registration_token"]}]


# -- attacks


async def test_a_guest_makes_nothing_and_brings_nobody(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """No rooms, aliases, searches, data or reports; nobody is invited, kicked or banned by a guest, with whatever
    power in the room, and by none of the ways there are."""
    guest = await served.guest()
    room = await open_room(alice)
    await enter(guest, room)
    await bob.join(room)
    creator = v3("rooms", room)
    await alice.set_state(room, "m.room.power_levels", {"users": {guest.user_id: 99}, "users_default": 0})
    person = {"user_id": bob.user_id}
    for method, path, body in (
        ("POST", v3("createRoom"), {}),
        ("POST", v3("join", room), {}),
        ("POST", v3("knock", room), {}),
        ("POST", f"{creator}/invite", {"user_id": f"@carol:{SERVER_NAME}"}),
        ("POST", f"{creator}/kick", person),
        ("POST", f"{creator}/ban", person),
        ("POST", f"{creator}/unban", person),
        ("POST", f"{creator}/forget", {}),
        ("POST", f"{creator}/upgrade", {"new_version": "11"}),
        ("POST", f"{creator}/receipt/m.read/$x", {}),
        ("PUT", f"{creator}/typing/{guest.user_id}", {"typing": True}),
        ("PUT", v3("directory", "room", f"#lobby:{SERVER_NAME}"), {"room_id": room}),
        ("PUT", v3("directory", "list", "room", room), {"visibility": "public"}),
        ("POST", v3("search"), {"search_categories": {"room_events": {"search_term": "x"}}}),
        ("POST", v3("user", guest.user_id, "filter"), {}),
        ("PUT", v3("user", guest.user_id, "account_data", "x"), {}),
        ("PUT", v3("presence", guest.user_id, "status"), {"presence": "online"}),
        ("POST", v3("rooms", room, "report"), {"reason": "x"}),
        ("POST", v3("logout", "all"), {}),
        ("GET", v3("voip", "turnServer"), None),
    ):
        assert await refused(guest, method, path, body) == "M_GUEST_ACCESS_FORBIDDEN", path
    for target, content in (
        (f"@carol:{SERVER_NAME}", {"membership": "invite"}),
        (bob.user_id, {"membership": "leave"}),
        (bob.user_id, {"membership": "ban"}),
    ):
        at = f"{creator}/state/m.room.member/{target}"
        assert await refused(guest, "PUT", at, content) == "M_GUEST_ACCESS_FORBIDDEN"
    at = f"{creator}/state/m.room.third_party_invite/key"
    assert await refused(guest, "PUT", at, {"display_name": "c"}) == "M_GUEST_ACCESS_FORBIDDEN"
    assert await membership(alice, room, bob.user_id) == "join"
    assert await membership(alice, room, f"@carol:{SERVER_NAME}") is None


async def test_a_guest_changes_nothing_of_others(served: Served, alice: MatrixClient) -> None:
    """Neither their names nor what they said; nor the room, without power in it."""
    guest = await served.guest()
    room = await open_room(alice)
    said = await alice.send(room, "mine")
    await enter(guest, room)
    name = {"displayname": "Mallory"}
    assert await refused(guest, "PUT", v3("profile", alice.user_id, "displayname"), name) == "M_FORBIDDEN"
    assert await refused(guest, "DELETE", v3("profile", alice.user_id, "displayname")) == "M_FORBIDDEN"
    at = v3("rooms", room)
    assert await refused(guest, "PUT", f"{at}/send/m.room.redaction/t1", {"redacts": said}) == "M_FORBIDDEN"
    assert await refused(guest, "PUT", f"{at}/state/m.room.name", {"name": "Mine"}) == "M_FORBIDDEN"
    assert await refused(guest, "PUT", f"{at}/state/{GUEST_ACCESS}", OPEN) == "M_FORBIDDEN"
    assert (await alice.call("GET", f"{at}/event/{said}"))["content"]["body"] == "mine"


async def test_a_guest_does_not_come_back_by_a_state_event(served: Served, alice: MatrixClient) -> None:
    """A guest who was sent away is out, and says nothing more in the room, whatever the event is."""
    guest = await served.guest()
    async with departures(served.house):
        room = await open_room(alice)
        await enter(guest, room)
        await alice.set_state(room, GUEST_ACCESS, CLOSED)
        await until(lambda: _has_left(alice, room, guest), what="the guest leaves")
    at = v3("rooms", room, "state", "m.room.member", guest.user_id)
    assert await refused(guest, "PUT", at, {"membership": "join"}) == "M_FORBIDDEN"
    assert await membership(alice, room, guest.user_id) == "leave"
