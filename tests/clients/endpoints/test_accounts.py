"""Registering, logging in and out, and one's own account, as a client sees them; every answer conforms to the spec."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.builders.accounts import SECRET
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.clients.endpoints.conftest import Opened, open_door
from tests.conformance.client import MatrixClient, v3

VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
ADMIN = "/_synapse/admin/v1/register"


def errcode(body: Any) -> str:
    code = body["errcode"]
    assert isinstance(code, str)
    return code


async def test_registering_and_using_the_token(opened: Opened) -> None:
    """One request makes an account that is logged in; its token opens whoami, in the header and in the query."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("Alice", device_id="PHONE", initial_device_display_name="My phone")
        assert (alice.user_id, alice.device_id) == (f"@alice:{SERVER_NAME}", "PHONE")
        whoami = {"user_id": alice.user_id, "device_id": "PHONE", "is_guest": False}
        assert await alice.call("GET", v3("account", "whoami")) == whoami
        query = {"access_token": alice.token}
        assert await alice.call("GET", v3("account", "whoami"), token="", query=query) == whoami


async def test_registering_in_stages(opened: Opened) -> None:
    """Asking with nothing tells the flows; the dummy stage with that session completes them."""
    async with MatrixClient(opened.url) as alice:
        asked = await alice.call("POST", v3("register"), {}, expect=401)
        assert asked["flows"] == [{"stages": ["m.login.dummy"]}]
        assert "errcode" not in asked
        auth = {"type": "m.login.dummy", "session": asked["session"]}
        body = {"username": "alice", "password": "x", "auth": auth, "inhibit_login": True}
        assert await alice.call("POST", v3("register"), body) == {"user_id": f"@alice:{SERVER_NAME}"}


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"username": "taken"}, 400, "M_USER_IN_USE"),
        ({"username": "not/é"}, 400, "M_INVALID_USERNAME"),
        ({"username": 7}, 400, "M_BAD_JSON"),
        ({"password": None}, 400, "M_MISSING_PARAM"),
        ({"password": ""}, 400, "M_WEAK_PASSWORD"),
        ({"password": "x" * 2000}, 400, "M_INVALID_PARAM"),
        ({"device_id": "a\0"}, 400, "M_INVALID_PARAM"),
        ({"device_id": ""}, 400, "M_INVALID_PARAM"),
        ({"initial_device_display_name": "x" * 300}, 400, "M_INVALID_PARAM"),
        ({"inhibit_login": "yes"}, 400, "M_BAD_JSON"),
        ({"auth": "dummy"}, 400, "M_BAD_JSON"),
        ({"auth": {"type": "m.login.recaptcha"}}, 401, "M_UNRECOGNIZED"),
    ],
)
async def test_registrations_that_fail(opened: Opened, fields: dict[str, Any], status: int, code: str) -> None:
    """Each fault is named, and no account is made."""
    async with MatrixClient(opened.url) as client:
        await client.register("taken")
        body = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}, **fields}
        assert errcode(await client.call("POST", v3("register"), body, token="", expect=status)) == code
        assert await client.call("GET", v3("register", "available"), query={"username": "alice"}) == {"available": True}
        await client.call("GET", v3("register", "available"), query={"username": "taken"}, expect=400)


async def test_there_are_no_guests(opened: Opened) -> None:
    """A guest account is refused as the spec says, another kind is no kind."""
    async with MatrixClient(opened.url) as client:
        refused = await client.call("POST", v3("register"), {}, query={"kind": "guest"}, expect=403)
        assert errcode(refused) == "M_GUEST_ACCESS_FORBIDDEN"
        await client.call("POST", v3("register"), {}, query={"kind": "bot"}, expect=400)


async def test_registration_by_token(cluster: Cluster) -> None:
    """Where tokens are asked for, only whoever has one registers, and the last use is the last."""
    async with open_door(cluster, policy="token") as opened, MatrixClient(opened.url) as client:
        database = opened.people.built.database
        await database.write(lambda store: store.registration_tokens.add("guests", 1, None))
        assert await client.call("GET", VALIDITY, query={"token": "guests"}) == {"valid": True}
        body = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
        assert errcode(await client.call("POST", v3("register"), body, expect=401)) == "M_UNRECOGNIZED"
        stage = {"type": "m.login.registration_token", "token": "nobody"}
        assert (
            errcode(await client.call("POST", v3("register"), body | {"auth": stage}, expect=401)) == "M_UNAUTHORIZED"
        )
        stage["token"] = "guests"
        await client.call("POST", v3("register"), body | {"auth": stage})
        await client.call("POST", v3("register"), body | {"auth": stage, "username": "bob"}, expect=401)
        assert await client.call("GET", VALIDITY, query={"token": "guests"}) == {"valid": False}
        await client.call("GET", VALIDITY, query={"token": "no token!"}, expect=400)


async def test_registration_is_closed(cluster: Cluster) -> None:
    """Nobody registers, whatever they bring; the operator still makes accounts."""
    async with open_door(cluster, policy="closed") as opened, MatrixClient(opened.url) as client:
        body = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
        assert errcode(await client.call("POST", v3("register"), body, expect=403)) == "M_FORBIDDEN"
        await client.call("GET", v3("register", "available"), query={"username": "alice"}, expect=403)
        await client.call("GET", VALIDITY, query={"token": "guests"}, expect=403)
        nonce = (await client.call("GET", ADMIN))["nonce"]
        mac = hmac.new(SECRET.encode(), f"{nonce}\0alice\0x\0notadmin".encode(), hashlib.sha1).hexdigest()
        sent = {"nonce": nonce, "username": "alice", "password": "x", "mac": mac, "displayname": "Alice"}
        made = await client.call("POST", ADMIN, sent)
        assert made["home_server"] == SERVER_NAME
        assert await client.call("GET", v3("profile", made["user_id"])) == {"displayname": "Alice"}
        await client.call("POST", ADMIN, sent, expect=400)
        await client.call("POST", ADMIN, sent | {"user_type": "bot"}, expect=400)
        await client.login("alice", "x")


async def test_logging_in(opened: Opened) -> None:
    """By localpart, by whole id, in any case, and in the old way; each device has a token of its own."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        assert (await alice.call("GET", v3("login")))["flows"] == [{"type": "m.login.password"}]
        tokens = {alice.token}
        for name in ("alice", f"@alice:{SERVER_NAME}", "ALICE"):
            answer = await alice.login(name)
            assert answer["well_known"] == {"m.homeserver": {"base_url": "https://chat.test.example"}}
            tokens.add(alice.token)
        old = {"type": "m.login.password", "user": "alice", "password": "correct horse", "device_id": "PHONE"}
        tokens.add((await alice.call("POST", v3("login"), old))["access_token"])
        again = await alice.call("POST", v3("login"), old)
        assert again["device_id"] == "PHONE"
        assert len(tokens) == 5
        assert again["access_token"] not in tokens


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"password": "wrong"}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.user", "user": "nobody"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.user", "user": "@alice:other.example"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.user", "user": "a\0"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.user", "user": "a" * 5000}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@b"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"medium": "email", "address": "a@b"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "org.example"}}, 400, "M_UNKNOWN"),
        ({"identifier": "alice"}, 400, "M_BAD_JSON"),
        ({"identifier": None}, 400, "M_MISSING_PARAM"),
        ({"password": None}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.token"}, 400, "M_UNKNOWN"),
        ({"type": None}, 400, "M_MISSING_PARAM"),
        ({"device_id": "a\0"}, 400, "M_INVALID_PARAM"),
    ],
)
async def test_logins_that_fail(opened: Opened, fields: dict[str, Any], status: int, code: str) -> None:
    """Each fault is named; who exists and who does not is not told."""
    async with MatrixClient(opened.url) as client:
        await client.register("alice")
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": "correct horse",
            **fields,
        }
        assert errcode(await client.call("POST", v3("login"), body, expect=status)) == code


async def test_logging_out(opened: Opened) -> None:
    """A token that was logged out is unknown at once; logging out everywhere ends the others too."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        first = alice.token
        await alice.login("alice")
        await alice.call("POST", v3("logout"))
        assert errcode(await alice.call("GET", v3("account", "whoami"), expect=401)) == "M_UNKNOWN_TOKEN"
        await alice.call("POST", v3("logout"), expect=401)
        await alice.call("POST", v3("logout", "all"), token=first)
        await alice.call("GET", v3("account", "whoami"), token=first, expect=401)


async def test_a_missing_token_is_told_from_a_wrong_one(opened: Opened) -> None:
    """M_MISSING_TOKEN without one, M_UNKNOWN_TOKEN with one that is none."""
    async with MatrixClient(opened.url) as client:
        assert errcode(await client.call("GET", v3("account", "whoami"), expect=401)) == "M_MISSING_TOKEN"
        for token in ("x", "x" * 4000):
            body = await client.call("GET", v3("account", "whoami"), token=token, expect=401)
            assert errcode(body) == "M_UNKNOWN_TOKEN"
        basic = await client.ask("GET", v3("account", "whoami"), headers={"Authorization": "Basic eDp5"})
        assert errcode(basic.body) == "M_MISSING_TOKEN"


async def test_changing_the_password(opened: Opened) -> None:
    """It takes the old password; other devices are logged out, this one is not."""
    async with MatrixClient(opened.url) as alice, MatrixClient(opened.url) as phone:
        await alice.register("alice")
        await phone.login("alice")
        body: dict[str, Any] = {"new_password": "battery staple"}
        asked = await alice.call("POST", v3("account", "password"), body, expect=401)
        assert asked["flows"] == [{"stages": ["m.login.password"]}]
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": "wrong",
            "session": asked["session"],
        }
        refused = await alice.call("POST", v3("account", "password"), body | {"auth": auth}, expect=401)
        assert (errcode(refused), "flows" in refused) == ("M_FORBIDDEN", True)
        auth["password"] = "correct horse"
        await alice.call("POST", v3("account", "password"), body | {"auth": auth})
        await alice.call("GET", v3("account", "whoami"))
        await phone.call("GET", v3("account", "whoami"), expect=401)
        await phone.login("alice", "battery staple")
        keep = {"new_password": "again", "logout_devices": False}
        auth["password"] = "battery staple"
        await alice.call("POST", v3("account", "password"), keep | {"auth": auth})
        await phone.call("GET", v3("account", "whoami"))


async def test_changing_the_password_without_being_logged_in(opened: Opened) -> None:
    """Whoever knows the old one may; everybody is logged out."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        auth = {"type": "m.login.password", "user": "alice", "password": "correct horse"}
        await alice.call("POST", v3("account", "password"), {"new_password": "new", "auth": auth}, token="")
        await alice.call("GET", v3("account", "whoami"), expect=401)
        await alice.login("alice", "new")


async def test_nobody_authorises_for_somebody_else(opened: Opened) -> None:
    """Bob's password does not change Alice's, though it is right."""
    async with MatrixClient(opened.url) as alice, MatrixClient(opened.url) as bob:
        await alice.register("alice")
        await bob.register("bob")
        auth = {"type": "m.login.password", "user": "bob", "password": "correct horse"}
        body = {"new_password": "new", "auth": auth}
        assert errcode(await alice.call("POST", v3("account", "password"), body, expect=401)) == "M_FORBIDDEN"
        await alice.login("alice")


async def test_closing_the_account(opened: Opened) -> None:
    """After it every token is unknown, no password opens it, and the name stays taken."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        await alice.call("PUT", v3("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
        auth = {"type": "m.login.password", "user": "alice", "password": "correct horse"}
        closed = await alice.call("POST", v3("account", "deactivate"), {"auth": auth, "erase": True})
        assert closed == {"id_server_unbind_result": "success"}
        await alice.call("GET", v3("account", "whoami"), expect=401)
        login = {"type": "m.login.password", "user": "alice", "password": "correct horse"}
        assert errcode(await alice.call("POST", v3("login"), login, expect=403)) == "M_USER_DEACTIVATED"
        again = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
        assert errcode(await alice.call("POST", v3("register"), again, expect=400)) == "M_USER_IN_USE"
        assert await alice.call("GET", v3("profile", alice.user_id)) == {}


async def test_guessing_passwords_is_throttled(cluster: Cluster) -> None:
    """After ten wrong guesses the account takes none for a while, not even the right one; other accounts do."""
    async with open_door(cluster, limits=True) as opened, MatrixClient(opened.url) as client:
        await client.register("alice")
        await client.register("bob")
        body = {"type": "m.login.password", "user": "alice", "password": "guess"}
        for _ in range(10):
            await client.call("POST", v3("login"), body, expect=403)
        body["password"] = "correct horse"
        refused = await client.call("POST", v3("login"), body, expect=429)
        assert refused["io.parley.limit"] == "login_failures"
        await client.login("bob")
        opened.people.clock.ms += refused["retry_after_ms"]
        await client.login("alice")


async def test_logins_of_one_address_are_throttled(cluster: Cluster) -> None:
    """Successful or not, an address logs in so often and no more."""
    async with open_door(cluster, limits=True) as opened, MatrixClient(opened.url) as client:
        await client.register("alice")
        for _ in range(20):
            await client.login("alice")
        body = {"type": "m.login.password", "user": "alice", "password": "correct horse"}
        refused = await client.call("POST", v3("login"), body, expect=429)
        assert refused["io.parley.limit"] == "login_address"


async def test_no_password_is_ever_stored_or_told(opened: Opened) -> None:
    """Neither the table of sessions under way nor any answer holds a password."""
    async with MatrixClient(opened.url) as alice:
        body = {"username": "alice", "password": "hush hush", "auth": {"type": "m.login.terms"}}
        asked = await alice.ask("POST", v3("register"), body)
        assert b"hush" not in asked.raw
        made = await alice.register("alice", "hush hush")
        assert "hush" not in json.dumps(made)
        with opened.people.built.engine.connect() as connection:
            tables = ("users", "sessions", "devices", "interactive_sessions")
            stored = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]
    assert "hush" not in repr(stored)
