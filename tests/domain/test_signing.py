"""Signatures, with signedjson as the oracle, and who must have signed an event."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import signedjson.key
import signedjson.sign
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.domain.hashing import add_content_hash, decode_base64, encode_base64
from homeserver.domain.redaction import redact
from homeserver.domain.signing import (
    generate_key,
    key_id_of,
    read_key_line,
    read_verify_key,
    required_signers,
    sign_event,
    sign_json,
    verify_event,
    verify_json,
    write_key_line,
)
from homeserver.domain.versions import ROOM_VERSIONS, V1, V2, V3, V7, V8, V12, RoomVersion

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))["signing"]
KEY = generate_key(decode_base64(VECTORS["seed_base64"]), "1")
KEY_ID = "ed25519:1"
VERIFY_KEY = signedjson.key.get_verify_key(KEY)
OTHER_KEY = generate_key(b"\x01" * 32, "1")
MEMBER = {"type": "m.room.member", "sender": "@a:one", "state_key": "@b:two", "content": {"membership": "invite"}}
strict_objects = st.dictionaries(
    st.text(), st.recursive(st.integers(-99, 99) | st.text() | st.none(), lambda inner: st.lists(inner, max_size=3))
)


@pytest.mark.parametrize("vector", VECTORS["json"])
def test_json_vectors(vector: dict[str, Any]) -> None:
    """The objects of the appendix."""
    signed = sign_json(vector["input"], VECTORS["server_name"], KEY)
    assert signed == vector["signed"]
    assert verify_json(signed, VECTORS["server_name"], VERIFY_KEY, VECTORS["key_id"])


@pytest.mark.parametrize("vector", VECTORS["events"])
def test_event_vectors(vector: dict[str, Any]) -> None:
    """The events of the appendix, which are redacted by the rules of room version 1 before they are signed."""
    assert sign_event(V1, add_content_hash(vector["input"]), "domain", KEY) == vector["signed"]
    assert verify_event(V1, vector["signed"], "domain", VERIFY_KEY, KEY_ID)


@settings(max_examples=50)
@given(strict_objects, st.dictionaries(st.text(min_size=1), st.dictionaries(st.text(), st.text()), max_size=2))
def test_signatures_equal_the_oracle(obj: dict[str, Any], signatures: dict[str, Any]) -> None:
    """signedjson makes the same object of ours, and verifies it; other signatures and unsigned data stay."""
    obj = {**obj, "signatures": signatures, "unsigned": {"age": 1}}
    before = copy.deepcopy(obj)
    signed = sign_json(obj, "domain", KEY)
    assert obj == before
    assert signed == signedjson.sign.sign_json(copy.deepcopy(obj), "domain", KEY)
    signedjson.sign.verify_signed_json(signed, "domain", VERIFY_KEY)
    assert verify_json({**signed, "unsigned": {}}, "domain", VERIFY_KEY, KEY_ID)
    assert not verify_json({**signed, "one more": 1}, "domain", VERIFY_KEY, KEY_ID)


@settings(max_examples=50)
@given(st.sampled_from(list(ROOM_VERSIONS.values())), strict_objects)
def test_event_signatures_outlive_redaction(version: RoomVersion, content: dict[str, Any]) -> None:
    """A signature holds on the full event and on its redacted copy, and not on an event with another essential key."""
    event = add_content_hash({**MEMBER, "content": {**content, "membership": "join"}, "depth": 1})
    signed = sign_event(version, event, "domain", KEY)
    assert verify_event(version, signed, "domain", VERIFY_KEY, KEY_ID)
    assert verify_event(version, redact(version, signed), "domain", VERIFY_KEY, KEY_ID)
    assert not verify_event(version, {**signed, "depth": 2}, "domain", VERIFY_KEY, KEY_ID)
    signedjson.sign.verify_signed_json(redact(version, signed), "domain", VERIFY_KEY)


def test_a_second_signature_is_merged() -> None:
    """Servers co-sign: what is there stays, also of the same server."""
    twice = sign_event(V12, sign_event(V12, add_content_hash(MEMBER), "one", KEY), "two", OTHER_KEY)
    other_version = generate_key(b"\x02" * 32, "b")
    thrice = sign_event(V12, twice, "one", other_version)
    assert {server: set(keys) for server, keys in thrice["signatures"].items()} == {
        "one": {KEY_ID, "ed25519:b"},
        "two": {KEY_ID},
    }
    assert verify_event(V12, thrice, "one", VERIFY_KEY, KEY_ID)
    assert verify_event(V12, thrice, "one", signedjson.key.get_verify_key(other_version), "ed25519:b")


def test_the_wrong_key_server_or_name_verifies_nothing() -> None:
    """A signature counts for one server, one key id and one key."""
    signed = sign_json({"a": 1}, "one", KEY)
    assert not verify_json(signed, "two", VERIFY_KEY, KEY_ID)
    assert not verify_json(signed, "one", VERIFY_KEY, "ed25519:2")
    assert not verify_json(signed, "one", signedjson.key.get_verify_key(OTHER_KEY), KEY_ID)


@pytest.mark.parametrize(
    "signatures",
    [
        None,
        [],
        "x",
        {},
        {"one": None},
        {"one": []},
        {"one": {KEY_ID: None}},
        {"one": {KEY_ID: 1}},
        {"one": {KEY_ID: "!"}},
        {"one": {KEY_ID: "Zm9v"}},
        {"one": {KEY_ID: encode_base64(b"\xff" * 64)}},
    ],
)
def test_malformed_signatures_verify_nothing(signatures: Any) -> None:
    """What a peer writes there never raises."""
    assert not verify_json({"signatures": signatures}, "one", VERIFY_KEY, KEY_ID)
    assert not verify_event(V12, {**MEMBER, "signatures": signatures}, "one", VERIFY_KEY, KEY_ID)


def test_what_has_no_canonical_json_is_not_signed_by_anybody() -> None:
    """Such an object has no bytes that could be signed."""
    assert not verify_json({"a": float("nan")}, "one", VERIFY_KEY, KEY_ID)
    assert not verify_event(V1, {**MEMBER, "depth": float("inf")}, "one", VERIFY_KEY, KEY_ID)


def test_key_lines_round_trip() -> None:
    """The key file of a server is lines that signedjson reads as well."""
    line = write_key_line(KEY)
    assert write_key_line(OTHER_KEY) == f"ed25519 1 {encode_base64(bytes([1] * 32))}"
    assert key_id_of(read_key_line(line + "\n")) == KEY_ID
    assert sign_json({}, "domain", read_key_line(line)) == sign_json({}, "domain", KEY)
    assert signedjson.key.read_signing_keys([line]) == [KEY]


@pytest.mark.parametrize(
    "line",
    ["", "ed25519 1", "rsa 1 " + VECTORS["seed_base64"], "ed25519 1 Zm9v", "ed25519 a-b " + VECTORS["seed_base64"]],
)
def test_malformed_key_lines_are_refused(line: str) -> None:
    """A server does not start with an empty or broken key."""
    with pytest.raises(BadRequest):
        read_key_line(line)


def test_published_keys_are_read() -> None:
    """A verify key is an id and 32 bytes in base64; anything else is refused."""
    published = signedjson.key.encode_verify_key_base64(VERIFY_KEY)
    assert verify_json(sign_json({}, "one", KEY), "one", read_verify_key(KEY_ID, published), KEY_ID)
    for key_id, key in (("rsa:1", published), (KEY_ID, "Zm9v"), (KEY_ID, "!"), ("ed25519", published)):
        with pytest.raises(BadRequest):
            read_verify_key(key_id, key)


def test_the_senders_server_must_sign() -> None:
    """And in versions 1 and 2 that of the event id, too."""
    pdu = {"type": "m.room.message", "sender": "@a:one", "content": {}, "event_id": "$x:two"}
    assert required_signers(V2, pdu) == {"one", "two"}
    assert required_signers(V3, pdu) == {"one"}


def test_a_third_party_invite_may_be_sent_by_another_server() -> None:
    """The sender's server is exempt, if there is something signed instead."""
    invite = {
        **MEMBER,
        "content": {"membership": "invite", "third_party_invite": {"signed": {}}},
        "event_id": "$x:three",
    }
    assert required_signers(V1, invite) == {"three"}
    assert required_signers(V12, invite) == set()
    for content in (
        {"membership": "join", "third_party_invite": {"signed": {}}},
        {"membership": "invite", "third_party_invite": {}},
        {"membership": "invite", "third_party_invite": "text"},
        {"membership": "invite"},
    ):
        assert required_signers(V12, {**MEMBER, "content": content}) == {"one"}


def test_a_restricted_join_is_signed_by_who_authorised_it() -> None:
    """Where restricted joins exist; before, the key means nothing."""
    join = {**MEMBER, "content": {"membership": "join", "join_authorised_via_users_server": "@m:three"}}
    assert required_signers(V8, join) == {"one", "three"}
    assert required_signers(V7, join) == {"one"}
    assert required_signers(V12, {**join, "type": "m.room.message"}) == {"one"}
    for authoriser in ("nobody", None, 1):
        with pytest.raises(BadRequest):
            required_signers(V12, {**MEMBER, "content": {"join_authorised_via_users_server": authoriser}})
