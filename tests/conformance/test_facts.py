"""What the checker of answers, requests and events sees, told by the endpoints that have each kind of demand."""

from typing import Any

import pytest

from tests.conformance.facts import SpecFacts, error_problems, path_pattern, spec_facts
from tests.conformance.schema import Schemas

SYNC = "/_matrix/client/v3/sync"
EVENT = {
    "type": "m.room.name",
    "state_key": "",
    "sender": "@a:b",
    "event_id": "$e",
    "origin_server_ts": 1,
    "content": {"name": "Attic"},
}


def sync_answer(**timeline: Any) -> dict[str, Any]:
    return {"next_batch": "s1", "rooms": {"join": {"!r:b": {"timeline": {"events": [EVENT], **timeline}}}}}


@pytest.fixture(name="facts")
def committed_facts() -> SpecFacts:
    return spec_facts()


def test_conforming_answer_has_no_problems(facts: SpecFacts) -> None:
    """A sync with one room and one event conforms."""
    assert facts.response_problems("GET", SYNC, 200, sync_answer(limited=True, prev_batch="p1")) == []


def test_missing_required_field_is_told_with_its_place(facts: SpecFacts) -> None:
    """A field that is missing deep in an answer is named by its whole path."""
    event = {key: value for key, value in EVENT.items() if key != "sender"}
    problems = facts.response_problems("GET", SYNC, 200, sync_answer(events=[EVENT, event]))
    assert problems == ["rooms/join/!r:b/timeline/events/1/sender: is required"]


def test_wrong_type_is_told_with_both_types(facts: SpecFacts) -> None:
    """The problem names what was expected and what came; true and 1.5 are no integers."""
    path = "/_matrix/client/v3/rooms/!r:b/joined_members"
    assert facts.response_problems("GET", path, 200, []) == ["<root>: object is expected, not array"]
    place = "rooms/join/!r:b/timeline/events/0/origin_server_ts: integer is expected, not "
    for value, name in ((True, "boolean"), (1.0, "number"), ("1", "string"), (None, "null")):
        answer = sync_answer(events=[EVENT | {"origin_server_ts": value}])
        assert facts.response_problems("GET", SYNC, 200, answer) == [place + name]


def test_enum_admits_only_its_values(facts: SpecFacts) -> None:
    """The visibility of a room in the directory is public or private."""
    path = "/_matrix/client/v3/directory/list/room/!r:b"
    assert facts.response_problems("GET", path, 200, {"visibility": "private"}) == []
    (problem,) = facts.response_problems("GET", path, 200, {"visibility": "secret"})
    assert problem == "visibility: 'secret' is not one of 'private', 'public'"


def test_patterns_hold_for_identifiers(facts: SpecFacts) -> None:
    """A room id without its sigil is seen."""
    path = "/_matrix/client/v3/createRoom"
    assert facts.response_problems("POST", path, 200, {"room_id": "!r:b"}) == []
    assert facts.response_problems("POST", path, 200, {"room_id": "r:b"}) == ["room_id: 'r:b' does not match ^!"]


def test_nullable_field_may_be_null_and_others_may_not(facts: SpecFacts) -> None:
    """`displayname` of a member event is a string or null; `reason` is a string."""
    member = EVENT | {"type": "m.room.member", "state_key": "@a:b", "room_id": "!r:b"}
    assert facts.event_problems(member | {"content": {"membership": "join", "displayname": None}}) == []
    problems = facts.event_problems(member | {"content": {"membership": "join", "reason": None}})
    assert problems == ["content/reason: string is expected, not null"]


def test_additional_properties_have_their_own_schema(facts: SpecFacts) -> None:
    """Every one-time key count is an integer, whatever the name of its algorithm."""
    answer = sync_answer() | {"device_one_time_keys_count": {"signed_curve25519": 5, "other": "many"}}
    problems = facts.response_problems("GET", SYNC, 200, answer)
    assert problems == ["device_one_time_keys_count/other: integer is expected, not string"]


def test_unknown_fields_are_allowed(facts: SpecFacts) -> None:
    """An answer may say more than the spec knows."""
    assert facts.response_problems("GET", SYNC, 200, sync_answer() | {"io.parley.more": [1]}) == []


def test_parts_of_sync_that_only_prose_describes_are_checked(facts: SpecFacts) -> None:
    """A device list is a list of user ids, though the data of the spec only says object."""
    answer = sync_answer() | {"device_lists": {"changed": ["alice"]}, "to_device": {"events": [{"type": "m.x"}]}}
    problems = facts.response_problems("GET", SYNC, 200, answer)
    assert {problem.split(":")[0] for problem in problems} == {
        "to_device/events/0/content",
        "to_device/events/0/sender",
        "device_lists/changed/0",
    }


def test_error_needs_errcode_and_error(facts: SpecFacts) -> None:
    """A described error and one that is not described both carry `errcode` and `error`."""
    good = {"errcode": "M_FORBIDDEN", "error": "no"}
    path = "/_matrix/client/v3/createRoom"
    for status in (400, 418):
        assert facts.response_problems("POST", path, status, good) == []
        assert facts.response_problems("POST", path, status, {"errcode": "M_FORBIDDEN"})
        assert facts.response_problems("POST", path, status, good | {"error": None})
        assert facts.response_problems("POST", path, status, "no")
    assert facts.response_problems("POST", path, 201, {"room_id": "!r:b"}) == [
        f"status 201 is not described for POST {path}"
    ]


def test_stage_of_interactive_authentication_is_no_error(facts: SpecFacts) -> None:
    """A 401 with flows needs no errcode, but its flows must be well-formed."""
    path = "/_matrix/client/v3/register"
    stages = {"flows": [{"stages": ["m.login.dummy"]}], "params": {}, "session": "x"}
    assert facts.response_problems("POST", path, 401, stages) == []
    assert facts.response_problems("POST", path, 401, stages | {"flows": [{}]}) == ["flows/0/stages: is required"]


def test_unknown_endpoint_is_a_problem_unless_it_is_refused(facts: SpecFacts) -> None:
    """What the spec does not know is answered 404 or 405 with M_UNRECOGNIZED, else it is a problem."""
    path = "/_matrix/client/v3/nonsense"
    assert facts.response_problems("GET", path, 200, {}) == [f"no such endpoint in the spec: GET {path}"]
    refusal = {"errcode": "M_UNRECOGNIZED", "error": "no such endpoint"}
    assert facts.response_problems("GET", path, 404, refusal) == []
    assert facts.response_problems("PATCH", SYNC, 405, refusal) == []
    assert facts.response_problems("GET", path, 404, refusal | {"errcode": "M_NOT_FOUND"})
    assert facts.request_problems("GET", path, {})


def test_own_endpoints_have_shapes_too(facts: SpecFacts) -> None:
    """Registration by shared secret is not in the spec, but is checked."""
    path = "/_synapse/admin/v1/register"
    assert facts.response_problems("GET", path, 200, {"nonce": "n"}) == []
    assert facts.response_problems("GET", path, 200, {}) == ["nonce: is required"]
    assert facts.request_problems("POST", path, {"nonce": "n", "username": "a", "password": "p", "mac": "m"}) == []
    assert facts.response_problems("GET", "/health", 200, None) == []


def test_request_is_checked(facts: SpecFacts) -> None:
    """The body of createRoom: its preset is one of three, its invitees are user ids."""
    path = "/_matrix/client/v3/createRoom"
    assert facts.request_problems("POST", path, {"preset": "public_chat", "invite": ["@b:b"]}) == []
    problems = facts.request_problems("POST", path, {"preset": "party", "invite": [7]})
    assert [problem.split(":")[0] for problem in problems] == ["preset", "invite/0"]


def test_message_is_checked_by_its_msgtype(facts: SpecFacts) -> None:
    """An image needs a url only if it is an image; an unknown msgtype needs only a body."""
    message = EVENT | {"type": "m.room.message", "room_id": "!r:b"}
    assert facts.event_problems(message | {"content": {"msgtype": "x.y", "body": "b"}}) == []
    assert facts.event_problems(message | {"content": {"msgtype": "m.image", "body": "b", "url": 7}})
    assert facts.event_problems(message | {"content": {"msgtype": "x.y"}}) == ["content/body: is required"]
    assert facts.event_problems({"type": "io.parley.unknown"}) == []
    assert facts.event_problems({"type": 7}) == ["type: a string is expected"]


def test_empty_state_key_may_lack(facts: SpecFacts) -> None:
    """The state of a type with an empty key is asked for with and without the last slash."""
    for path in ("/_matrix/client/v3/rooms/!r:b/state/m.room.name", "/_matrix/client/v3/rooms/!r:b/state/m.room.name/"):
        assert facts.response_problems("GET", path, 200, {"name": "Attic"}) == []
        assert facts.response_problems("GET", path, 200, [])
    assert path_pattern("/a/{b}").fullmatch("/a/") is None


def test_literal_path_wins_over_a_template(facts: SpecFacts) -> None:
    """`/devices` and `/devices/{deviceId}` are not mixed up, nor is a query taken for a part of the path."""
    assert [o.template for o in facts.operations("GET", "/_matrix/client/v3/devices?x=/y")] == [
        "/_matrix/client/v3/devices"
    ]
    first = facts.operations("GET", "/_matrix/client/v3/pushrules/global/")
    assert [o.template for o in first] == ["/_matrix/client/v3/pushrules/global/"]


def test_endpoints_tell_authentication_and_limits(facts: SpecFacts) -> None:
    """The list of operations says who may ask and whether it is rate-limited."""
    known = {(e.method, e.path): e for e in facts.endpoints()}
    assert len(known) == 209
    assert known["GET", SYNC].auth == "access_token"
    assert known["POST", "/_matrix/client/v3/login"].auth == "none"
    assert known["POST", "/_matrix/client/v3/login"].rate_limited
    assert known["PUT", "/_matrix/federation/v1/send/{txnId}"].auth == "signature"
    assert known["GET", "/_matrix/client/versions"].auth == "access_token?"


def test_notation_of_the_facts() -> None:
    """Each key of the notation, alone: patterns of fields, names, counts, arrays, choices, conjunctions, recursion."""
    schemas = Schemas({"tree": {"optional": {"inner": "#tree", "n": "integer"}}})

    def fits(schema: Any, value: Any) -> bool:
        return not schemas.check(schema).problems(value)

    assert fits("any", [None])
    assert not fits("never", None)
    assert fits("integer|null", None)
    assert not fits("integer|null", "7")
    assert fits("number", 7)
    assert fits({"patterns": {"^@": "string"}}, {"@a": "x", "b": 7})
    assert not fits({"patterns": {"^@": "string"}}, {"@a": 7})
    assert not fits({"optional": {"a": "string"}, "values": "never"}, {"a": "x", "b": "y"})
    assert not fits({"keys": {"pattern": ["^[a-z]+$"]}}, {"A": 1})
    assert fits({"minFields": 1, "maxFields": 1}, {"a": 1})
    assert not fits({"minFields": 1, "maxFields": 1}, {})
    assert not fits({"items": "any", "minItems": 2, "maxItems": 2}, [1])
    assert not fits({"pattern": ["a"], "maxLength": 2}, "aaa")
    assert fits({"anyOf": ["string", {"items": "integer"}]}, [1])
    assert not fits({"anyOf": ["string", {"items": "integer"}]}, ["1"])
    assert not fits({"allOf": [{"required": {"a": "any"}}, {"required": {"b": "any"}}]}, {"a": 1})
    assert not fits({"enum": [1]}, True)
    assert fits("#tree", {"inner": {"inner": {"n": 1}}})
    assert not fits("#tree", {"inner": {"inner": {"n": "1"}}})
    with pytest.raises(ValueError, match="properties"):
        schemas.check({"properties": {}})


def test_error_body_is_an_object() -> None:
    """An error that is no JSON object is told as such."""
    assert error_problems(None) == ["<root>: an error without a JSON object"]
