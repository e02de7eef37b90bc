"""Building events of our own."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signedjson.key import get_verify_key

from homeserver.domain.draft import build_pdu
from homeserver.domain.errors import BadRequest, BrokenInvariant, TooLarge
from homeserver.domain.event import Event
from homeserver.domain.format import check_pdu_format, max_depth
from homeserver.domain.hashing import check_content_hash, event_id, reference_hash, room_id_of_create
from homeserver.domain.redaction import redact
from homeserver.domain.signing import generate_key, required_signers, sign_event, verify_event
from homeserver.domain.versions import ROOM_VERSIONS, V1, V2, V5, V10, V11, V12, RoomVersion

VERSIONS = list(ROOM_VERSIONS.values())
KEY = generate_key(b"\x07" * 32, "a_1")
VERIFY_KEY = get_verify_key(KEY)
HASH_ROOM = "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.identifier)


def build(version: RoomVersion, **changes: Any) -> Event:
    """A message of @alice in some room, with some arguments changed."""
    arguments: dict[str, Any] = {
        "room_id": HASH_ROOM if version is V12 else "!r:example.org",
        "sender": "@alice:example.org",
        "type": "m.room.message",
        "state_key": None,
        "content": {"msgtype": "m.text", "body": "hello"},
        "prev_events": [("$p:example.org", b"\x01" * 32)],
        "auth_events": [("$a:example.org", b"\x02" * 32), ("$b:example.org", b"\x03" * 32)],
        "depth": 7,
        "origin_server_ts": 1_700_000_000_000,
        "server_name": "example.org",
        "key": KEY,
        "event_id_suffix": "opaque",
    }
    return build_pdu(version, **{**arguments, **changes})


def assert_ours(event: Event) -> None:
    """Any other server would accept the event, as far as format, hash and signatures go."""
    check_pdu_format(event.version, event.pdu)
    assert check_content_hash(event.pdu)
    assert event.event_id == event_id(event.version, event.pdu)
    for server in required_signers(event.version, event.pdu):
        assert verify_event(event.version, event.pdu, server, VERIFY_KEY, "ed25519:a_1")


@each_version
def test_a_message_is_hashed_and_signed(version: RoomVersion) -> None:
    """In every version, and all fields are as they were given."""
    event = build(version)
    assert_ours(event)
    assert (event.sender, event.type, event.state_key, event.depth) == ("@alice:example.org", "m.room.message", None, 7)
    assert event.origin_server_ts == 1_700_000_000_000
    assert event.content == {"msgtype": "m.text", "body": "hello"}
    assert event.prev_events == ("$p:example.org",)
    assert event.auth_events == ("$a:example.org", "$b:example.org")
    assert event.redacts is None
    assert not {"state_key", "unsigned", "redacts", "origin"} & event.pdu.keys()


@each_version
def test_the_signature_is_that_of_sign_event(version: RoomVersion) -> None:
    """The short way here makes what the general way makes."""
    pdu = build(version).pdu
    unsigned = {key: value for key, value in pdu.items() if key != "signatures"}
    assert sign_event(version, unsigned, "example.org", KEY) == pdu


def test_references_carry_hashes_only_in_versions_1_and_2() -> None:
    """There the caller must know the reference hash of what he refers to."""
    previous = build(V1)
    digest = reference_hash(V1, previous.pdu)
    event = build(V1, prev_events=[(previous.event_id, digest)], auth_events=[])
    assert event.pdu["prev_events"][0][0] == previous.event_id == "$opaque:example.org"
    assert set(event.pdu["prev_events"][0][1]) == {"sha256"}
    assert_ours(event)
    assert build(V1, prev_events=[("$p:example.org", None)]).pdu["prev_events"] == [["$p:example.org", {}]]
    with pytest.raises(BrokenInvariant):
        build(V2, prev_events=["$p:example.org"])
    with pytest.raises(BrokenInvariant):
        build(V2, event_id_suffix=None)
    assert build(V12, prev_events=["$p"]).pdu["prev_events"] == ["$p"]
    assert build(V12, prev_events=[("$p", b"")]) == build(V12, prev_events=["$p"], event_id_suffix=None)


def test_a_room_of_version_12_is_named_by_its_create_event() -> None:
    """Its create event has no room id; in other versions it has the one that was given."""
    changes = {
        "type": "m.room.create",
        "state_key": "",
        "content": {"room_version": "12"},
        "prev_events": [],
        "auth_events": [],
    }
    event = build(V12, room_id=None, **changes)
    assert_ours(event)
    assert "room_id" not in event.pdu
    assert event.room_id == room_id_of_create(V12, event.pdu) == "!" + event.event_id[1:]
    assert build(V11, **changes).room_id == "!r:example.org"
    for version, room_id in ((V11, None), (V12, HASH_ROOM)):
        with pytest.raises(BadRequest):
            build(version, **{**changes, "room_id": room_id})


@each_version
def test_redactions_name_their_event_where_the_version_wants_it(version: RoomVersion) -> None:
    """At the top up to version 10, in the content from 11 on; the caller's content is not changed."""
    content = {"reason": "spam"}
    event = build(version, type="m.room.redaction", content=content, redacts="$x:example.org")
    assert_ours(event)
    assert event.redacts == "$x:example.org"
    assert content == {"reason": "spam"}
    in_content = version not in VERSIONS[: VERSIONS.index(V10) + 1]
    assert ("redacts" in event.pdu, "redacts" in event.content) == (not in_content, in_content)


@each_version
def test_attack_01_our_depth_stops_at_the_limit(version: RoomVersion) -> None:
    """ "If the room's depth is already at the limit, the depth must be set to the limit." """
    event = build(version, depth=max_depth(version) + 1)
    assert event.depth == max_depth(version)
    assert_ours(event)


def test_unsigned_data_is_carried_and_not_signed() -> None:
    """It changes neither id nor signatures."""
    event = build(V12, state_key="", type="m.room.name", unsigned={"replaces_state": "$x"})
    assert event.pdu["unsigned"] == {"replaces_state": "$x"}
    assert event.is_state
    assert event.event_id == build(V12, state_key="", type="m.room.name").event_id
    assert_ours(event)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": {"n": 0.5}},
        {"content": {"n": 2**53}},
        {"content": {"text": "\ud800"}},
        {"unsigned": {"n": 0.5}},
        {"sender": "alice"},
        {"state_key": "a\0b"},
        {"origin_server_ts": 2**53},
        {"prev_events": ["$p"] * 21},
        {"auth_events": ["$a"] * 11},
        {"depth": -1},
    ],
)
def test_what_makes_no_event_is_refused(changes: dict[str, Any]) -> None:
    """The client gets a clear error, and no other server ever sees the event."""
    with pytest.raises(BadRequest):
        build(V12, **changes)


def test_floats_are_legal_in_old_rooms() -> None:
    """Servers must not enforce canonical JSON there."""
    assert_ours(build(V5, content={"n": [0.5, 1e-7, 2**70]}))


@pytest.mark.parametrize("changes", [{"content": {"body": "x" * 65536}}, {"state_key": "x" * 256}, {"type": "é" * 128}])
def test_what_is_too_large_is_refused_as_such(changes: dict[str, Any]) -> None:
    """A client is told M_TOO_LARGE."""
    with pytest.raises(TooLarge):
        build(V12, **changes)


@settings(max_examples=60)
@given(
    st.sampled_from(VERSIONS),
    st.sampled_from(["m.room.message", "m.room.member", "m.room.power_levels", "m.room.join_rules", "org.example.any"]),
    st.dictionaries(
        st.text(max_size=9), st.recursive(st.none() | st.integers(-99, 99) | st.text(), st.lists, max_leaves=4)
    ),
    st.none() | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=9),
)
def test_whatever_is_built_would_be_accepted(
    version: RoomVersion, event_type: str, content: dict[str, Any], state_key: str | None
) -> None:
    """Full or redacted, by every server, under the same id."""
    event = build(version, type=event_type, content=content, state_key=state_key)
    assert_ours(event)
    assert event_id(version, redact(version, event.pdu)) == event.event_id
