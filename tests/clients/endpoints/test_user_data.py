"""Profiles, account data, filters, and what the server says of itself; every answer conforms to the spec."""

from typing import Any

import pytest

from homeserver.streams.keys import user_key
from homeserver.streams.publications import AccountDataItem, Publication
from tests.clients.endpoints.conftest import Opened
from tests.conformance.client import MatrixClient, v3

WELL_KNOWN = "/.well-known/matrix/"


async def test_what_the_server_says_of_itself(opened: Opened) -> None:
    """Versions and well-known files are for everybody, capabilities for users."""
    async with MatrixClient(opened.url) as client:
        assert "v1.1" in (await client.call("GET", "/_matrix/client/versions"))["versions"]
        home = {"m.homeserver": {"base_url": "https://chat.test.example"}}
        assert await client.call("GET", WELL_KNOWN + "client") == home
        assert await client.call("GET", WELL_KNOWN + "server") == {"m.server": "chat.test.example:443"}
        await client.call("GET", v3("capabilities"), expect=401)
        await client.register("alice")
        capabilities = (await client.call("GET", v3("capabilities")))["capabilities"]
        assert capabilities["m.room_versions"]["default"] == "12"
        assert capabilities["m.room_versions"]["available"]["1"] == "stable"
        assert capabilities["m.change_password"] == {"enabled": True}


async def test_a_profile_is_made_of_fields(opened: Opened) -> None:
    """Fields are set, read by everybody, overwritten, removed; rooms hear of name and avatar, each time they change."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        mine = ("profile", alice.user_id)
        assert await alice.call("GET", v3(*mine)) == {}
        fields: dict[str, Any] = {
            "displayname": "Alice ✓",
            "avatar_url": "mxc://test.example/abc",
            "m.tz": "Europe/Berlin",
            "org.example.a-b": {"deep": [1, None, 12345678901234567890123]},
        }
        for key, value in fields.items():
            await alice.call("PUT", v3(*mine, key), {key: value})
        await alice.call("PUT", v3(*mine, "displayname"), {"displayname": "Alice ✓"})
        assert await alice.call("GET", v3(*mine), token="") == fields
        assert await alice.call("GET", v3(*mine, "m.tz"), token="") == {"m.tz": "Europe/Berlin"}
        await alice.call("PUT", v3(*mine, "displayname"), {"displayname": ""})
        for key in ("avatar_url", "org.example.a-b", "m.tz", "m.tz"):
            await alice.call("DELETE", v3(*mine, key))
        assert await alice.call("GET", v3(*mine)) == {}
        await alice.call("GET", v3(*mine, "displayname"), expect=404)
        assert opened.people.rooms.changed == [alice.user_id] * 4


@pytest.mark.parametrize(
    ("key", "body", "code"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": 7}, "M_BAD_JSON"),
        ("displayname", {"displayname": None}, "M_BAD_JSON"),
        ("displayname", {"displayname": "x" * 2000}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "https://example.org/a"}, "M_INVALID_PARAM"),
        ("Nonsense", {"Nonsense": 1}, "M_INVALID_PARAM"),
        ("x." + "y" * 255, {"x." + "y" * 255: 1}, "M_KEY_TOO_LARGE"),
        ("org.example", {"org.example": "x" * 65_536}, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_fields_that_cannot_be(opened: Opened, key: str, body: dict[str, Any], code: str) -> None:
    """Each fault is named, and the profile stays as it was."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        refused = await alice.call("PUT", v3("profile", alice.user_id, key), body, expect=400)
        assert refused["errcode"] == code
        assert await alice.call("GET", v3("profile", alice.user_id)) == {}


async def test_a_whole_profile_is_bounded(opened: Opened) -> None:
    """Two fields that are small enough each are too much together."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        await alice.call("PUT", v3("profile", alice.user_id, "org.a"), {"org.a": "x" * 40_000})
        refused = await alice.call("PUT", v3("profile", alice.user_id, "org.b"), {"org.b": "x" * 40_000}, expect=400)
        assert refused["errcode"] == "M_PROFILE_TOO_LARGE"


async def test_other_peoples_data_is_theirs(opened: Opened) -> None:
    """Nobody changes another's profile, or reads or changes another's account data and filters."""
    async with MatrixClient(opened.url) as alice, MatrixClient(opened.url) as bob:
        await alice.register("alice")
        await bob.register("bob")
        for method, path, body in (
            ("PUT", v3("profile", alice.user_id, "displayname"), {"displayname": "x"}),
            ("DELETE", v3("profile", alice.user_id, "displayname"), None),
            ("GET", v3("user", alice.user_id, "account_data", "org.example"), None),
            ("PUT", v3("user", alice.user_id, "account_data", "org.example"), {}),
            ("GET", v3("user", alice.user_id, "rooms", "!a:b", "account_data", "org.example"), None),
            ("POST", v3("user", alice.user_id, "filter"), {}),
            ("GET", v3("user", alice.user_id, "filter", "x"), None),
        ):
            refused = await bob.call(method, path, body, expect=403)
            assert refused["errcode"] == "M_FORBIDDEN"


async def test_profiles_that_are_not_here(opened: Opened) -> None:
    """Unknown users and users of other servers are not found; what is no user id is a bad request."""
    async with MatrixClient(opened.url) as client:
        for user_id in ("@nobody:test.example", "@alice:other.example"):
            await client.call("GET", v3("profile", user_id), expect=404)
            await client.call("GET", v3("profile", user_id, "displayname"), expect=404)
        await client.call("GET", v3("profile", "alice"), expect=400)


async def test_account_data_is_kept_and_published(opened: Opened) -> None:
    """What was set is read again as it was, and goes out to the user's devices with its position."""
    heard: list[Publication] = []
    opened.people.built.publisher.listen(heard.append)
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        path = v3("user", alice.user_id, "account_data", "org.example/a")
        await alice.call("GET", path, expect=404)
        for content in ({"a": 1}, {"b": [1.5, None, "é"]}):
            await alice.call("PUT", path, content)
            assert await alice.call("GET", path) == content
        items = [publication.item for publication in heard]
        assert items[0] == AccountDataItem(alice.user_id, None, "org.example/a", '{"a":1}')
        assert [publication.keys for publication in heard] == [(user_key(alice.user_id),)] * 2
        assert heard[0].position < heard[1].position


async def test_account_data_of_a_room(opened: Opened) -> None:
    """It is kept beside the global one, for a room that is known; another is not found, no room id a bad request."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        with opened.people.built.engine.connect() as connection:
            connection.exec_driver_sql(
                "INSERT INTO rooms (number, room_id, version, extremities, extremity_ids, depth, state_group,"
                " state_version, state_generation, joined, invited, open_history, last_anchor, classes, ordinals,"
                " created_ts) VALUES (7, '!a:b', '12', '{}', '{}', 0, 0, 0, 0, 0, 0, true, 0, '{}', '{}', 0)"
            )
        await alice.call("PUT", v3("user", alice.user_id, "account_data", "m.tag"), {"where": "global"})
        in_room = v3("user", alice.user_id, "rooms", "!a:b", "account_data", "m.tag")
        await alice.call("GET", in_room, expect=404)
        await alice.call("PUT", in_room, {"tags": {}})
        assert await alice.call("GET", in_room) == {"tags": {}}
        unknown = v3("user", alice.user_id, "rooms", "!x:y", "account_data", "m.tag")
        await alice.call("PUT", unknown, {}, expect=404)
        await alice.call("GET", unknown, expect=404)
        bad = await alice.call("PUT", v3("user", alice.user_id, "rooms", "a", "account_data", "m.tag"), {}, expect=400)
        assert bad["errcode"] == "M_INVALID_PARAM"


async def test_account_data_that_cannot_be_set(opened: Opened) -> None:
    """The server's own types are 405, what is no object or no JSON 400, what is too large 413."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        for kind in ("m.push_rules", "m.fully_read"):
            for scope in ((), ("rooms", "!a:b")):
                path = v3("user", alice.user_id, *scope, "account_data", kind)
                assert (await alice.call("PUT", path, {}, expect=405))["errcode"] == "M_BAD_JSON"
        path = v3("user", alice.user_id, "account_data", "org.example")
        assert (await alice.call("PUT", path, [1], expect=400))["errcode"] == "M_BAD_JSON"
        assert (await alice.call("PUT", path, b"{", expect=None))["errcode"] == "M_NOT_JSON"
        assert (await alice.call("PUT", path, {"a": "x" * 600_000}, expect=413))["errcode"] == "M_TOO_LARGE"
        long_type = v3("user", alice.user_id, "account_data", "x" * 256)
        await alice.call("PUT", long_type, {}, expect=400)


async def test_filters_are_uploaded_once(opened: Opened) -> None:
    """The same filter has the same id, however its keys are ordered; it is given back as it was."""
    async with MatrixClient(opened.url) as alice:
        await alice.register("alice")
        path = v3("user", alice.user_id, "filter")
        definition = {"room": {"timeline": {"limit": 5}}, "event_fields": ["type"]}
        first = (await alice.call("POST", path, definition))["filter_id"]
        again = (await alice.call("POST", path, dict(reversed(definition.items()))))["filter_id"]
        assert first == again
        assert await alice.call("GET", f"{path}/{first}") == definition
        assert (await alice.call("POST", path, {}))["filter_id"] != first
        await alice.call("GET", f"{path}/nothing", expect=404)
        await alice.call("GET", v3("user", alice.user_id, "filter", "a/b"), expect=404)
        for bad in ({"room": 1}, {"room": {"timeline": {"limit": "x"}}}, {"event_format": "xml"}):
            await alice.call("POST", path, bad, expect=400)
