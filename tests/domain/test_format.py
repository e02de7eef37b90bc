"""The format of PDUs, in every room version, and what it must survive."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.canonical import MAX_INTEGER, canonical_json
from homeserver.domain.errors import BadRequest, TooLarge
from homeserver.domain.event import read_event
from homeserver.domain.format import check_event_size, check_pdu_format, max_depth
from homeserver.domain.hashing import event_id, room_id_of_create
from homeserver.domain.versions import ROOM_VERSIONS, V1, V2, V3, V5, V6, V10, V11, V12, RoomVersion

VERSIONS = list(ROOM_VERSIONS.values())
HASH_ROOM = "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.identifier)
MISSING = object()


def a_pdu(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """A well-formed message of this version with some keys changed, or taken away."""
    references: list[Any] = [["$b:s", {"sha256": "aGFzaA"}]] if version.reference_pairs else ["$b"]
    pdu: dict[str, Any] = {
        "auth_events": references,
        "content": {"body": "hello"},
        "depth": 3,
        "hashes": {"sha256": "aGFzaA"},
        "origin_server_ts": 1,
        "prev_events": references,
        "room_id": HASH_ROOM if version is V12 else "!r:s",
        "sender": "@a:s",
        "signatures": {"s": {"ed25519:1": "c2ln"}},
        "type": "m.room.message",
    }
    if version in (V1, V2):
        pdu["event_id"] = "$e:s"
    return {key: value for key, value in {**pdu, **changes}.items() if value is not MISSING}


def refused(version: RoomVersion, pdu: Any) -> str:
    with pytest.raises(BadRequest) as refusal:
        check_pdu_format(version, pdu)
    return refusal.value.errcode


@each_version
def test_well_formed_events_pass(version: RoomVersion) -> None:
    """Messages, state events, and events with every optional key; and they can be read."""
    check_pdu_format(version, a_pdu(version))
    check_pdu_format(
        version, a_pdu(version, state_key="", unsigned={"age": 1}, other=1, prev_events=[], auth_events=[])
    )
    check_pdu_format(version, a_pdu(version, sender="@Ünï codé:example.org:8448", origin_server_ts=0, depth=0))
    assert read_event(version, "$e", a_pdu(version)).prev_events == (("$b:s",) if version in (V1, V2) else ("$b",))


WRONG: list[tuple[str, list[Any]]] = [
    ("sender", [MISSING, None, 1, "", "a:s", "@a", "@a:", "@a\0:s"]),
    ("type", [MISSING, None, 1, [], "a\0b"]),
    ("state_key", [None, 1, {}, "a\0b"]),
    ("room_id", [MISSING, None, 1, "", "r:s", "!r", "#r:s"]),
    ("content", [MISSING, None, [], "x"]),
    ("unsigned", [None, [], 1]),
    ("depth", [MISSING, None, "3", True, -1, 2**63, 1.0]),
    ("origin_server_ts", [MISSING, None, "1", True, 2**63, 1.0]),
    ("hashes", [MISSING, None, [], {}, {"sha1": "x"}, {"sha256": 1}]),
    ("signatures", [MISSING, None, [], {"s": None}, {"s": "x"}, {"s": {"ed25519:1": 1}}, {"s": {"ed25519:1": None}}]),
    ("prev_events", [MISSING, None, {}, "$b", [1], [None], [["$b", 1]], [["$b"]], [["$b", {}, {}]], [[1, {}]], ["b"]]),
    ("auth_events", [MISSING, None, {}, "$b", [1], [None], [["$b", 1]], [["$b"]], [["$b", {}, {}]], [[1, {}]], ["b"]]),
]


@each_version
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG for value in values])
def test_malformed_events_are_refused(version: RoomVersion, key: str, value: Any) -> None:
    """Every required key must be there, and every key must have its type."""
    assert refused(version, a_pdu(version, **{key: value})) == "M_BAD_JSON"


@pytest.mark.parametrize("pdu", [None, 1, "x", [], [{}], {}, True, 1.5])
@each_version
def test_what_is_no_event_is_refused(version: RoomVersion, pdu: Any) -> None:
    """The event itself may be any JSON value."""
    assert refused(version, pdu) == "M_BAD_JSON"


@each_version
def test_attack_01_depth_overflow(version: RoomVersion) -> None:
    """`check_pdu_format` lets no depth pass that the version cannot carry on: 2^53-1 from version 6 on, else 2^63-1."""
    limit = 2**53 - 1 if int(version.identifier) >= 6 else 2**63 - 1
    assert max_depth(version) == limit
    check_pdu_format(version, a_pdu(version, depth=limit))
    for depth in (limit + 1, -1, 2**64, 1e3, "5"):
        refused(version, a_pdu(version, depth=depth))


@each_version
def test_attack_05_too_many_references(version: RoomVersion) -> None:
    """20 prev events and 10 auth events are allowed, 21 and 11 are not."""
    reference = a_pdu(version)["prev_events"]
    check_pdu_format(version, a_pdu(version, prev_events=reference * 20, auth_events=reference * 10))
    refused(version, a_pdu(version, prev_events=reference * 21))
    refused(version, a_pdu(version, auth_events=reference * 11))


@pytest.mark.parametrize(
    ("key", "longest"),
    [
        ("sender", "@" + "é" * 126 + ":s"),
        ("type", "é" * 127 + "x"),
        ("state_key", "é" * 127 + "x"),
        ("room_id", "!" + "x" * 252 + ":s"),
        ("event_id", "$" + "x" * 252 + ":s"),
    ],
)
def test_attack_05_long_identifiers(key: str, longest: str) -> None:
    """255 bytes pass, 256 do not; our own users are told so with another status."""
    check_pdu_format(V1, a_pdu(V1, **{key: longest}))
    longer = a_pdu(V1, **{key: longest[0] + "x" + longest[1:]})
    assert refused(V1, longer) == "M_TOO_LARGE"
    with pytest.raises(TooLarge):
        check_event_size(longer)


@each_version
def test_attack_05_large_events(version: RoomVersion) -> None:
    """65,536 bytes of canonical JSON pass, signatures included, one more does not."""
    room = 65536 - len(canonical_json(a_pdu(version, content={"body": ""})))
    largest = a_pdu(version, content={"body": "x" * room})
    check_pdu_format(version, largest)
    check_event_size(largest)
    larger = a_pdu(version, content={"body": "x" * (room - 1) + "é"})
    assert refused(version, larger) == "M_TOO_LARGE"
    with pytest.raises(TooLarge):
        check_event_size(larger)


@pytest.mark.parametrize("number", [0.5, 1e10, MAX_INTEGER + 1, 2**70, -(2**53)])
def test_attack_02_numbers_beyond_canonical_json(number: float) -> None:
    """Old rooms must not enforce canonical JSON, rooms of version 6 and later must."""
    for version in VERSIONS:
        pdu = a_pdu(version, content={"n": [number]})
        if version.strict_canonical_json:
            assert refused(version, pdu) == "M_BAD_JSON"
        else:
            check_pdu_format(version, pdu)


def test_attack_04_deep_events() -> None:
    """An event that is nested too deeply is refused in every version, however its body was parsed."""
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    for version in VERSIONS:
        assert refused(version, a_pdu(version, content={"deep": deep})) == "M_BAD_JSON"


def test_lone_surrogates_are_refused() -> None:
    """A string that has no UTF-8 can be neither hashed nor stored."""
    for version in (V1, V12):
        for changes in (
            {"type": "\ud800"},
            {"content": {"a": "\ud800"}},
            {"content": {"\ud800": 1}},
            {"sender": "@\ud800:s"},
        ):
            assert refused(version, a_pdu(version, **changes)) == "M_BAD_JSON"


def test_chosen_event_ids() -> None:
    """Versions 1 and 2 need an event id with a domain; later ones look at none."""
    for value in (MISSING, None, 1, "e:s", "$e", "$e:", "$e:a b"):
        refused(V2, a_pdu(V2, event_id=value))
        check_pdu_format(V3, a_pdu(V3, event_id=value))


def test_references_of_early_events() -> None:
    """A pair may carry another hash, or none."""
    check_pdu_format(V1, a_pdu(V1, prev_events=[["$b:s", {}], ["$c:s", {"md5": "x"}]]))


def test_redacts_is_a_string_where_it_stands_at_the_top() -> None:
    """Up to version 10; later it lives in the content."""
    check_pdu_format(V10, a_pdu(V10, redacts="$b"))
    refused(V10, a_pdu(V10, redacts=1))
    check_pdu_format(V11, a_pdu(V11, redacts=1))


def test_times_beyond_64_bits_are_refused() -> None:
    """Also in the past."""
    check_pdu_format(V5, a_pdu(V5, origin_server_ts=-(2**63 - 1)))
    refused(V5, a_pdu(V5, origin_server_ts=-(2**63)))
    refused(V6, a_pdu(V6, origin_server_ts=-(2**53)))


def test_attack_15_room_ids_of_version_12() -> None:
    """A create event has no room id, any other event has one without a domain."""
    create = a_pdu(V12, type="m.room.create", state_key="", room_id=MISSING, prev_events=[], auth_events=[])
    check_pdu_format(V12, create)
    read = read_event(V12, event_id(V12, create), create, room_id=room_id_of_create(V12, create))
    assert read.room_id == "!" + read.event_id[1:]
    for room_id in (HASH_ROOM, None, "!r:s"):
        refused(V12, {**create, "room_id": room_id})
    refused(V12, a_pdu(V12, room_id="!r:s"))
    refused(V11, a_pdu(V11, room_id=HASH_ROOM))
    refused(V11, {**create, "room_id": MISSING})
    check_pdu_format(V11, {**create, "room_id": "!r:s"})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
json_values = st.recursive(
    scalars | st.sampled_from(["$b", "@a:s", "!r:s", HASH_ROOM]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("sha256"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=400)
@given(
    st.sampled_from(VERSIONS),
    st.dictionaries(st.sampled_from([*sorted(a_pdu(V1)), "state_key", "unsigned"]), json_values),
)
def test_no_json_value_raises_anything_but_bad_request(version: RoomVersion, changes: dict[str, Any]) -> None:
    """And what passes can be read, hashed and named."""
    pdu = a_pdu(version, **changes)
    try:
        check_pdu_format(version, pdu)
    except BadRequest:
        return
    read_event(version, event_id(version, pdu), pdu)


@given(st.sampled_from(VERSIONS), json_values)
def test_no_json_value_at_all_raises_anything_but_bad_request(version: RoomVersion, value: Any) -> None:
    """The event itself may be anything."""
    with pytest.raises(BadRequest):
        check_pdu_format(version, value)
