"""Server notices: what operators tell users, and what strangers try with them."""

import asyncio
import hmac
from hashlib import sha1
from typing import Any

import pytest

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import Conflict
from homeserver.services import notices
from homeserver.services.notices import notice_content
from tests.builders.cluster import SERVER_NAME
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

SERVER = f"@notices:{SERVER_NAME}"
SEND = "/_synapse/admin/v1/send_server_notice"
OPERATE = "/_parley/admin/v1/notices"
CANNOT_LEAVE = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
HELLO = {"msgtype": "m.server_notice", "server_notice_type": "org.example.hello", "body": "Hello!"}


@pytest.fixture
async def admin(served: Served) -> MatrixClient:
    client = await served.user("admin")
    sql = "UPDATE users SET admin = true WHERE user_id = %s"
    await served.house.database.write(lambda store: store.transaction.text(sql, client.user_id))
    await client.login(client.user_id)
    return client


async def send(admin: MatrixClient, to: MatrixClient, content: dict[str, Any] | None = None) -> str:
    body = {"user_id": to.user_id, "content": HELLO if content is None else content}
    return str((await admin.call("POST", SEND, body))["event_id"])


async def operate(client: MatrixClient, *, expect: int = 200, secret: str = "secret", **notice: Any) -> dict[str, Any]:
    nonce = (await client.call("GET", OPERATE, token=""))["nonce"]
    signed = f"{nonce}\0send-notice\0{canonical_json(notice).decode()}"
    mac = hmac.new(secret.encode(), signed.encode(), sha1).hexdigest()
    body = {"nonce": nonce, "mac": mac, "notice": notice}
    answer: dict[str, Any] = await client.call("POST", OPERATE, body, token="", expect=expect)
    return answer


async def invited_to(client: MatrixClient) -> str:
    """The one room that the user is invited to."""
    (room,) = (await client.sync())["rooms"]["invite"]
    return str(room)


async def messages(client: MatrixClient, room: str) -> list[dict[str, Any]]:
    page = await client.messages(room, filter={"types": ["m.room.message"]})
    return [event["content"] for event in page["chunk"]][::-1]


async def test_a_notice_and_the_next_one(admin: MatrixClient, alice: MatrixClient) -> None:
    """The first makes a room of the server's account, which no other server can enter, and invites; both are read
    there, and the room is tagged."""
    event_id = await send(admin, alice)
    room = await invited_to(alice)
    assert await alice.join(room) == room
    joined = (await alice.sync())["rooms"]["join"][room]
    assert {"type": "m.tag", "content": {"tags": {"m.server_notice": {}}}} in joined["account_data"]["events"]
    await send(admin, alice, notice_content("Maintenance at noon"))
    page = await alice.messages(room, filter={"types": ["m.room.message"]})
    assert [event["sender"] for event in page["chunk"]] == [SERVER, SERVER]
    assert page["chunk"][1]["event_id"] == event_id
    assert await messages(alice, room) == [
        HELLO,
        {"msgtype": "m.server_notice", "body": "Maintenance at noon", "server_notice_type": "io.parley.announcement"},
    ]
    create = await alice.state(room, "m.room.create")
    assert create["m.federate"] is False
    assert (await alice.state(room, "m.room.name"))["name"] == "Server Notices"
    assert list((await alice.sync())["rooms"]["join"]) == [room]


async def test_the_invite_cannot_be_rejected_and_the_room_can_be_left(admin: MatrixClient, alice: MatrixClient) -> None:
    """ "Servers should not prevent the user leaving the room after joining"; the next notice invites again, into the
    same room, also if it was forgotten and the tag taken away."""
    await send(admin, alice)
    room = await invited_to(alice)
    leave = v3("rooms", room, "leave")
    assert (await alice.call("POST", leave, expect=403))["errcode"] == CANNOT_LEAVE
    as_state = v3("rooms", room, "state", "m.room.member", alice.user_id)
    await alice.call("PUT", as_state, {"membership": "leave"}, expect=403)
    assert await invited_to(alice) == room
    await alice.join(room)
    await alice.call("DELETE", v3("user", alice.user_id, "rooms", room, "tags", "m.server_notice"))
    await alice.leave(room)
    await alice.call("POST", v3("rooms", room, "forget"))
    await send(admin, alice)
    assert await invited_to(alice) == room
    assert (await alice.call("POST", leave, expect=403))["errcode"] == CANNOT_LEAVE
    await alice.join(room)
    tags = await alice.call("GET", v3("user", alice.user_id, "rooms", room, "tags"))
    assert tags == {"tags": {"m.server_notice": {}}}


async def test_whoever_wants_no_invites_is_told_all_the_same(admin: MatrixClient, alice: MatrixClient) -> None:
    """Blocking all invites, or ignoring the server, does not keep the operator's invite away."""
    await alice.call(
        "PUT", v3("user", alice.user_id, "account_data", "m.invite_permission_config"), {"default_action": "block"}
    )
    ignore = v3("user", alice.user_id, "account_data", "m.ignored_user_list")
    await alice.call("PUT", ignore, {"ignored_users": {SERVER: {}}})
    since = (await alice.sync())["next_batch"]
    await send(admin, alice)
    assert len((await alice.sync(since))["rooms"]["invite"]) == 1


async def test_a_limit_that_was_reached_is_pinned(served: Served, alice: MatrixClient) -> None:
    """ "Active notices are represented by the pinned events", until it is withdrawn."""
    stranger = await served.stranger()
    limit: dict[str, Any] = {"limit_type": "monthly_active_user", "admin_contact": "mailto:admin@example.org"}
    assert await operate(stranger, user_id=alice.user_id, body="Too many of us", **limit) == {"count": 1}
    room = await invited_to(alice)
    await alice.join(room)
    (content,) = await messages(alice, room)
    assert content == {
        "msgtype": "m.server_notice",
        "server_notice_type": "m.server_notice.usage_limit_reached",
        "body": "Too many of us",
        **limit,
    }
    (pinned,) = (await alice.state(room, "m.room.pinned_events"))["pinned"]
    page = await alice.messages(room, filter={"types": ["m.room.message"]})
    assert page["chunk"][0]["event_id"] == pinned
    for _ in range(2):
        await operate(stranger, user_id=alice.user_id, withdraw=True)
    assert (await alice.state(room, "m.room.pinned_events")) == {"pinned": []}


async def test_everybody_is_told_page_by_page(
    served: Served, monkeypatch: pytest.MonkeyPatch, alice: MatrixClient, bob: MatrixClient, carol: MatrixClient
) -> None:
    """All users but those who closed their account and the server itself; each page says where to go on."""
    monkeypatch.setattr(notices, "PAGE", 2)
    auth = {"type": "m.login.password", "user": "carol", "password": "correct horse"}
    await carol.call("POST", v3("account", "deactivate"), {"auth": auth})
    stranger = await served.stranger()
    counts: list[int] = []
    after: dict[str, Any] = {}
    while True:
        answer = await operate(stranger, body="Hello all", **after)
        counts.append(answer["count"])
        if "next" not in answer:
            break
        after = {"after": answer["next"]}
    assert counts == [2, 0]
    for client in (alice, bob):
        room = await invited_to(client)
        await client.join(room)
        assert [content["body"] for content in await messages(client, room)] == ["Hello all"]
    assert (await operate(stranger, withdraw=True))["count"] == 2


async def test_two_first_notices_at_once_make_one_room(admin: MatrixClient, alice: MatrixClient) -> None:
    """ "exactly 1 server notices room per user"."""
    await asyncio.gather(*(send(admin, alice) for _ in range(4)))
    room = await invited_to(alice)
    await alice.join(room)
    assert len(await messages(alice, room)) == 4


async def test_strangers_send_no_notices(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """Neither a plain user nor somebody without the secret, nor with a proof that was made for another notice."""
    body = {"user_id": bob.user_id, "content": HELLO}
    assert (await alice.call("POST", SEND, body, expect=403))["errcode"] == "M_FORBIDDEN"
    await alice.call("POST", SEND, body, token="", expect=401)
    stranger = await served.stranger()
    await operate(stranger, expect=403, secret="guess", user_id=bob.user_id, body="Give me your password")
    nonce = (await stranger.call("GET", OPERATE))["nonce"]
    signed = canonical_json({"user_id": bob.user_id, "body": "Hello"}).decode()
    mac = hmac.new(b"secret", f"{nonce}\0send-notice\0{signed}".encode(), sha1).hexdigest()
    changed = {"nonce": nonce, "mac": mac, "notice": {"user_id": bob.user_id, "body": "Give me your password"}}
    await stranger.call("POST", OPERATE, changed, expect=403)
    assert "rooms" not in await bob.sync()


async def test_nobody_is_the_server(served: Served, admin: MatrixClient, alice: MatrixClient) -> None:
    """Its name cannot be registered, before and after the first notice, nobody logs in with it, and it hears nothing of
    those who write to it."""
    stranger = await served.stranger()
    for _ in range(2):
        for name in ("notices", "Notices"):
            body = {"username": name, "password": "x", "auth": {"type": "m.login.dummy"}}
            assert (await stranger.call("POST", v3("register"), body, expect=400))["errcode"] == "M_USER_IN_USE"
        await stranger.call("GET", v3("register", "available"), query={"username": "notices"}, expect=400)
        for password in ("", "x"):
            login = {"type": "m.login.password", "user": "notices", "password": password}
            await stranger.call("POST", v3("login"), login, expect=403)
        await send(admin, alice)
    await admin.call("POST", SEND, {"user_id": SERVER, "content": HELLO}, expect=404)


async def test_the_room_is_for_reading(admin: MatrixClient, alice: MatrixClient, bob: MatrixClient) -> None:
    """The user cannot speak in it, change it, bring others in, or throw the server out; others cannot come in."""
    await send(admin, alice)
    room = await invited_to(alice)
    await bob.call("POST", v3("join", room), expect=403)
    await alice.join(room)
    await alice.call("PUT", v3("rooms", room, "send", "m.room.message", "t"), HELLO, expect=403)
    await alice.call("PUT", v3("rooms", room, "state", "m.room.pinned_events"), {"pinned": []}, expect=403)
    await alice.call("PUT", v3("rooms", room, "state", "m.room.name"), {"name": "Mine"}, expect=403)
    await alice.call("POST", v3("rooms", room, "invite"), {"user_id": bob.user_id}, expect=403)
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": SERVER}, expect=403)
    await alice.call("POST", v3("rooms", room, "upgrade"), {"new_version": "11"}, expect=403)


async def test_a_tag_does_not_make_a_room_of_notices(alice: MatrixClient, bob: MatrixClient) -> None:
    """Bob may reject Alice's invite however the two tag the room and whatever it is called; and what she says in the
    form of a notice is a message like any other."""
    room = await alice.create_room(name="Server Notices", creation_content={"m.federate": False})
    await alice.invite(room, bob.user_id)
    for client in (alice, bob):
        await client.call("PUT", v3("user", client.user_id, "rooms", room, "tags", "m.server_notice"), {})
    await alice.send(room, HELLO)
    await bob.leave(room)
    await alice.leave(room)


async def test_whom_and_what_cannot_be_sent(served: Served, admin: MatrixClient, alice: MatrixClient) -> None:
    """Nobody of another server, nobody who is not here; no message without body, no state, no half of a limit."""
    for user_id in ("@alice:other.example", f"@nobody:{SERVER_NAME}"):
        await admin.call("POST", SEND, {"user_id": user_id, "content": HELLO}, expect=404)
    for body in (
        {"user_id": "alice", "content": HELLO},
        {"content": HELLO},
        {"user_id": alice.user_id, "content": {"msgtype": "m.text"}},
        {"user_id": alice.user_id, "content": HELLO, "type": "m.room.name"},
        {"user_id": alice.user_id, "content": HELLO, "state_key": ""},
    ):
        await admin.call("POST", SEND, body, expect=400)
    await admin.call("POST", SEND, {"user_id": alice.user_id, "content": HELLO | {"x": "y" * 65_400}}, expect=413)
    stranger = await served.stranger()
    await operate(stranger, expect=400, user_id=alice.user_id, body="x", limit_type="monthly_active_user")
    await operate(stranger, expect=400, user_id=alice.user_id)
    await operate(stranger, expect=400, after="\0", body="x")
    assert "invite" not in (await alice.sync()).get("rooms", {})


async def test_a_name_that_was_somebodys_before(served: Served, alice: MatrixClient) -> None:
    """An account of that name from before it was reserved stays its owner's: no notices are sent, and none are lost
    without a word."""
    database = served.house.database
    await database.write(lambda store: store.users.add(SERVER, "a hash", False, 0))
    with pytest.raises(Conflict):
        await served.house.services.notices.send(alice.user_id, HELLO)
