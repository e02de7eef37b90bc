"""What every endpoint of rooms refuses alike: strangers, wrong methods, and bodies that make no sense.

Arbitrary JSON never meets an error that nobody foresaw: the client of these tests fails on a 500.
"""

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.client import MatrixClient, v3

ROOM, EVENT = "!room:test.example", "$event"
# Method, path, and the members that its body may have; None: it has no body.
ENDPOINTS: list[tuple[str, str, tuple[str, ...] | None]] = [
    ("POST", v3("createRoom"), ("name", "topic", "preset", "visibility", "invite", "invite_3pid", "room_version",
        "creation_content", "initial_state", "is_direct", "power_level_content_override", "room_alias_name")),
    ("GET", v3("joined_rooms"), None),
    ("POST", v3("rooms", ROOM, "join"), ("reason", "third_party_signed")),
    ("POST", v3("join", ROOM), ("reason", "third_party_signed")),
    ("POST", v3("knock", ROOM), ("reason",)),
    ("POST", v3("rooms", ROOM, "leave"), ("reason",)),
    ("POST", v3("rooms", ROOM, "forget"), None),
    ("POST", v3("rooms", ROOM, "invite"), ("user_id", "reason", "medium")),
    ("POST", v3("rooms", ROOM, "kick"), ("user_id", "reason")),
    ("POST", v3("rooms", ROOM, "ban"), ("user_id", "reason")),
    ("POST", v3("rooms", ROOM, "unban"), ("user_id", "reason")),
    ("PUT", v3("rooms", ROOM, "send", "m.room.message", "txn"), ("msgtype", "body")),
    ("PUT", v3("rooms", ROOM, "redact", EVENT, "txn"), ("reason", "redacts")),
    ("GET", v3("rooms", ROOM, "state"), None),
    ("GET", v3("rooms", ROOM, "state", "m.room.name"), None),
    ("PUT", v3("rooms", ROOM, "state", "m.room.name"), ("name",)),
    ("GET", v3("rooms", ROOM, "state", "m.room.name", ""), None),
    ("PUT", v3("rooms", ROOM, "state", "m.room.name", ""), ("name",)),
    ("GET", v3("rooms", ROOM, "state", "m.room.member", "@a:b"), None),
    ("PUT", v3("rooms", ROOM, "state", "m.room.member", "@a:b"), ("membership",)),
    ("GET", v3("rooms", ROOM, "members"), None),
    ("GET", v3("rooms", ROOM, "joined_members"), None),
    ("GET", v3("rooms", ROOM, "messages"), None),
    ("GET", v3("rooms", ROOM, "event", EVENT), None),
    ("GET", v3("rooms", ROOM, "context", EVENT), None),
    ("PUT", v3("rooms", ROOM, "typing", "@alice:test.example"), ("typing", "timeout")),
    ("POST", v3("rooms", ROOM, "receipt", "m.read", EVENT), ("thread_id",)),
    ("POST", v3("rooms", ROOM, "read_markers"), ("m.read", "m.fully_read", "m.read.private")),
    ("GET", v3("sync"), None),
    ("GET", v3("pushrules", ""), None),
    ("GET", v3("pushrules", "global", ""), None),
    ("GET", v3("pushrules", "global", "override", ".m.rule.master"), None),
    ("PUT", v3("pushrules", "global", "override", "mine"), ("actions", "conditions", "pattern")),
    ("PUT", v3("pushrules", "global", "content", "mine"), ("actions", "conditions", "pattern")),
    ("DELETE", v3("pushrules", "global", "override", "mine"), None),
    ("GET", v3("pushrules", "global", "override", ".m.rule.master", "enabled"), None),
    ("PUT", v3("pushrules", "global", "override", ".m.rule.master", "enabled"), ("enabled",)),
    ("GET", v3("pushrules", "global", "override", ".m.rule.master", "actions"), None),
    ("PUT", v3("pushrules", "global", "override", ".m.rule.master", "actions"), ("actions",)),
]  # fmt: skip
WITH_BODY = [(method, path, members) for method, path, members in ENDPOINTS if members is not None]
# Whose body may be left out.
BODY_OPTIONAL = ("join", "knock", "leave", "receipt")


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-3, 120),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(
            ("", "@alice:test.example", "!x:test.example", "$x", "#x:test.example", "join", "1", "6", "12")
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=6,
)


async def test_strangers_are_refused(alice: MatrixClient) -> None:
    """Without a token: M_MISSING_TOKEN; with one that nobody has: M_UNKNOWN_TOKEN."""
    for method, path, _ in ENDPOINTS:
        for token, errcode in (("", "M_MISSING_TOKEN"), ("nonsense", "M_UNKNOWN_TOKEN")):
            answer = await alice.ask(method, path, token=token)
            assert (answer.status, answer.body["errcode"]) == (401, errcode), (method, path)


async def test_wrong_methods_are_405(alice: MatrixClient) -> None:
    """A path that exists, asked with a method that it does not have."""
    for method, path, _ in ENDPOINTS:
        wrong = "PATCH" if re.search(r"/global/\w+/[^/]+$", path) else "DELETE"
        answer = await alice.ask(wrong, path)
        assert answer.status == 405, (wrong, path)
        assert answer.body["errcode"] == "M_UNRECOGNIZED"
        assert method in answer.headers["Allow"]


async def test_bodies_that_are_no_json_objects_are_400(alice: MatrixClient) -> None:
    """M_NOT_JSON for what is not JSON, M_BAD_JSON for what is no object, everywhere."""
    for method, path, _ in WITH_BODY:
        for body, errcode in (
            (b"{", "M_NOT_JSON"),
            (b"\xff", "M_NOT_JSON"),
            (b"[]", "M_BAD_JSON"),
            (b"1", "M_BAD_JSON"),
        ):
            answer = await alice.ask(method, path, body, headers={"Content-Type": "application/json"})
            assert (answer.status, answer.body["errcode"]) == (400, errcode), (method, path, body)


async def test_only_some_bodies_may_be_left_out(alice: MatrixClient) -> None:
    """COMPAT: where all members are optional, clients leave the body out."""
    for method, path, _ in WITH_BODY:
        answer = await alice.ask(method, path, b"", headers={"Content-Type": "application/json"})
        if not any(name in path for name in BODY_OPTIONAL):
            assert (answer.status, answer.body["errcode"]) == (400, "M_NOT_JSON"), (method, path)
        else:
            assert answer.body["errcode"] in ("M_NOT_FOUND", "M_FORBIDDEN"), (method, path)


async def test_ids_of_rooms_that_are_none_are_400(alice: MatrixClient) -> None:
    """What cannot be a room id is M_INVALID_PARAM, before anything is looked up."""
    for method, path, members in ENDPOINTS:
        if "/rooms/" in path:
            for wrong in ("room", "!", "!a b:c d", "@a:test.example", "#a:test.example", "!" + "x" * 300 + ":y"):
                body: Any = None if members is None else {"user_id": "@a:b.c", "typing": True}
                other = path.replace(v3("rooms", ROOM)[len("/_matrix/client/v3/") :], v3("rooms", wrong)[19:])
                answer = await alice.ask(method, other, body, query={"dir": "b"})
                assert (answer.status, answer.body["errcode"]) == (400, "M_INVALID_PARAM"), (method, other)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_arbitrary_bodies_are_answered(alice: MatrixClient, data: st.DataObject) -> None:
    """Any JSON object, with the members that the endpoint knows and others, is done or refused."""
    joined = (await alice.call("GET", v3("joined_rooms")))["joined_rooms"]
    room = joined[0] if joined else await alice.create_room()
    method, path, members = data.draw(st.sampled_from(WITH_BODY))
    body = data.draw(st.dictionaries(st.one_of(st.sampled_from(members), st.text(max_size=3)), JSON, max_size=4))
    path = path.replace(ROOM.replace("!", "%21").replace(":", "%3A"), room.replace("!", "%21").replace(":", "%3A"))
    answer = await alice.ask(method, path, body)
    assert answer.status < 500, answer.raw
