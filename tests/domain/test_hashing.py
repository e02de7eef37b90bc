"""Content hashes, reference hashes and the ids made of them."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.domain.hashing import (
    add_content_hash,
    check_content_hash,
    content_hash,
    decode_base64,
    encode_base64,
    encode_url_safe_base64,
    event_id,
    reference_hash,
    room_id_of_create,
)
from homeserver.domain.redaction import redact
from homeserver.domain.versions import ROOM_VERSIONS, V1, V2, V3, V4, V11, V12, RoomVersion

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
HASHED_VERSIONS = [version for version in ROOM_VERSIONS.values() if version not in (V1, V2)]
contents = st.dictionaries(
    st.text() | st.sampled_from(["membership", "users", "join_rule", "redacts"]),
    st.integers(0, 99) | st.text(),
    max_size=4,
)


def an_event(content: dict[str, Any], event_type: str = "m.room.message") -> dict[str, Any]:
    return add_content_hash(
        {
            "auth_events": [],
            "content": content,
            "depth": 1,
            "origin_server_ts": 1,
            "prev_events": ["$a"],
            "room_id": "!r:s",
            "sender": "@a:s",
            "signatures": {"s": {"ed25519:1": "x"}},
            "type": event_type,
            "unsigned": {"age": 1},
        }
    )


@pytest.mark.parametrize(("plain", "encoded"), VECTORS["unpadded_base64"].items())
def test_base64_vectors(plain: str, encoded: str) -> None:
    """The examples of the appendix, both ways."""
    assert encode_base64(plain.encode()) == encoded
    assert decode_base64(encoded) == plain.encode()


@given(st.binary(max_size=70))
def test_base64_round_trips(data: bytes) -> None:
    """Padding is optional on the way in and absent on the way out; either alphabet is read."""
    assert encode_base64(data) == base64.b64encode(data).decode().rstrip("=")
    assert encode_url_safe_base64(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")
    for text in (encode_base64(data), base64.b64encode(data).decode(), encode_url_safe_base64(data)):
        assert decode_base64(text) == data


@pytest.mark.parametrize(
    "text", ["a", "abcde", "Zg=", "Zg===", "=", "Z g=", "Zm9v\n", "Zm9v!", "é", "Zg==Zg==", "\ud800"]
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    """Neither foreign characters nor wrong padding nor an impossible length pass."""
    with pytest.raises(BadRequest):
        decode_base64(text)


@pytest.mark.parametrize("vector", VECTORS["signing"]["events"])
def test_content_hash_vectors(vector: dict[str, Any]) -> None:
    """The events of the appendix."""
    hashed = add_content_hash(vector["input"])
    assert hashed["hashes"] == vector["signed"]["hashes"]
    assert check_content_hash(vector["signed"])


def test_a_changed_event_fails_its_content_hash() -> None:
    """Every key but unsigned, signatures and hashes is covered."""
    event = an_event({"body": "hello"})
    assert check_content_hash(event)
    assert check_content_hash({**event, "unsigned": {}, "signatures": {}})
    assert not check_content_hash({**event, "depth": 2})
    assert not check_content_hash({**event, "anything": None})


@pytest.mark.parametrize("hashes", [None, [], {}, {"sha256": 1}, {"sha256": "!"}, {"sha256": ""}, {"sha1": "Zm9v"}])
def test_a_malformed_content_hash_is_a_wrong_one(hashes: Any) -> None:
    """What a peer writes there never raises."""
    assert not check_content_hash({**an_event({}), "hashes": hashes})


def test_padded_and_url_safe_content_hashes_count() -> None:
    """The hash is compared as bytes, not as text."""
    event = an_event({"body": "hello"})
    event["hashes"] = {"sha256": content_hash(event).replace("+", "-").replace("/", "_") + "="}
    assert check_content_hash(event)


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: version.identifier)
def test_reference_hash_as_the_spec_computes_it(version: RoomVersion) -> None:
    """Redact, drop signatures and unsigned, canonical JSON, SHA-256."""
    event = {
        **an_event({"membership": "join", "displayname": "Bob"}, "m.room.member"),
        "event_id": "$x:s",
        "state_key": "",
    }
    essential = {key: value for key, value in redact(version, event).items() if key not in ("signatures", "unsigned")}
    assert essential["event_id"] == "$x:s"
    assert reference_hash(version, event) == hashlib.sha256(encode_canonical_json(essential)).digest()


def test_event_ids_by_version() -> None:
    """Chosen in versions 1 and 2, base64 in 3, URL-safe base64 from 4 on."""
    event = next(
        event
        for event in (an_event({"body": str(number)}) for number in range(10_000))
        if {"+", "/"} <= set(encode_base64(reference_hash(V3, event)))
    )
    digest = base64.b64encode(reference_hash(V3, event)).decode().rstrip("=")
    assert event_id(V2, {**event, "event_id": "$chosen:s"}) == "$chosen:s"
    assert event_id(V3, event) == "$" + digest
    assert event_id(V4, event) == "$" + digest.replace("+", "-").replace("/", "_")


def test_room_ids_of_create_events() -> None:
    """From version 12 on the room is named by its create event."""
    create = an_event({"room_version": "12"}, "m.room.create")
    assert room_id_of_create(V11, create) == "!r:s"
    del create["room_id"]
    assert room_id_of_create(V12, create) == "!" + event_id(V12, create)[1:]


@given(
    st.sampled_from(HASHED_VERSIONS),
    st.sampled_from(["m.room.member", "m.room.create", "m.room.redaction", "m.room.message", "m.room.power_levels"]),
    contents,
)
def test_event_ids_outlive_redactions_signatures_and_unsigned_data(
    version: RoomVersion, event_type: str, content: dict[str, Any]
) -> None:
    """The id of an event is that of its redacted copy, whoever signs it or adds unsigned data."""
    event = an_event(content, event_type)
    name = event_id(version, event)
    assert event_id(version, redact(version, event)) == name
    assert event_id(version, {**event, "unsigned": {"age": 2}, "signatures": {"other": {"ed25519:2": "y"}}}) == name
    assert event_id(version, add_content_hash(event)) == name
    assert event_id(version, {**event, "depth": 2}) != name
