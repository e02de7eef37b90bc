"""The redaction algorithm, in every room version."""

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.redaction import redact
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion

VERSIONS = list(ROOM_VERSIONS.values())
TYPES = ["m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.history_visibility"]
TYPES += ["m.room.aliases", "m.room.redaction", "m.room.message", "m.room.name"]
POWER_KEYS = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
CONTENT_KEYS = sorted(
    POWER_KEYS
    | {"membership", "creator", "join_rule", "allow", "aliases", "history_visibility", "redacts", "invite", "body"}
    | {"join_authorised_via_users_server", "room_version", "notifications", "third_party_invite"}
)
TOP_KEYS = ["event_id", "room_id", "sender", "state_key", "hashes", "signatures", "depth", "prev_events", "auth_events"]
TOP_KEYS += ["origin_server_ts"]
OLD_TOP_KEYS = ["prev_state", "origin", "membership"]
OTHER_TOP_KEYS = ["unsigned", "redacts", "age_ts", "org.example.other"]


def redacted_content(version: str, event_type: str) -> set[str]:
    """Which of all content keys survive; `third_party_invite` is a string here, which has no `signed`."""
    content = dict.fromkeys(CONTENT_KEYS, "value")
    return set(redact(ROOM_VERSIONS[version], {"type": event_type, "content": content})["content"])


def between(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


# Written from the prose of the room versions, number by number, independently of the flags.
SURVIVORS: list[tuple[str, list[str], set[str]]] = [
    ("m.room.member", between(1, 8), {"membership"}),
    ("m.room.member", between(9, 12), {"membership", "join_authorised_via_users_server"}),
    ("m.room.create", between(1, 10), {"creator"}),
    ("m.room.create", between(11, 12), set(CONTENT_KEYS)),
    ("m.room.join_rules", between(1, 7), {"join_rule"}),
    ("m.room.join_rules", between(8, 12), {"join_rule", "allow"}),
    ("m.room.power_levels", between(1, 10), POWER_KEYS),
    ("m.room.power_levels", between(11, 12), POWER_KEYS | {"invite"}),
    ("m.room.aliases", between(1, 5), {"aliases"}),
    ("m.room.aliases", between(6, 12), set()),
    ("m.room.history_visibility", between(1, 12), {"history_visibility"}),
    ("m.room.redaction", between(1, 10), set()),
    ("m.room.redaction", between(11, 12), {"redacts"}),
    ("m.room.message", between(1, 12), set()),
    ("m.room.name", between(1, 12), set()),
]


@pytest.mark.parametrize(
    ("event_type", "version", "survivors"),
    [(event_type, version, keys) for event_type, versions, keys in SURVIVORS for version in versions],
)
def test_content_keys_that_survive(event_type: str, version: str, survivors: set[str]) -> None:
    """Each version keeps exactly the content that its page lists."""
    assert redacted_content(version, event_type) == survivors


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.identifier)
def test_top_level_keys_that_survive(version: RoomVersion) -> None:
    """`origin`, `membership` and `prev_state` survive up to version 10; `unsigned` and top-level `redacts` never."""
    pdu = {
        "type": "m.room.message",
        "content": {"body": "x"},
        **dict.fromkeys(TOP_KEYS + OLD_TOP_KEYS + OTHER_TOP_KEYS, 1),
    }
    expected = {"type", "content", *TOP_KEYS} | (set() if int(version.identifier) >= 11 else set(OLD_TOP_KEYS))
    assert set(redact(version, pdu)) == expected


@pytest.mark.parametrize(
    ("invite", "survivor"),
    [
        ({"display_name": "Bob", "signed": {"token": "t"}}, {"third_party_invite": {"signed": {"token": "t"}}}),
        ({"display_name": "Bob"}, {"third_party_invite": {}}),
        ("text", {}),
    ],
)
def test_third_party_invites_keep_what_is_signed(invite: Any, survivor: dict[str, Any]) -> None:
    """From version 11 on `signed` survives, and before nothing of the invite."""
    pdu = {"type": "m.room.member", "content": {"membership": "invite", "third_party_invite": invite}}
    assert redact(ROOM_VERSIONS["11"], pdu)["content"] == {"membership": "invite", **survivor}
    assert redact(ROOM_VERSIONS["10"], pdu)["content"] == {"membership": "invite"}


def test_frozen_input_is_left_as_it_is() -> None:
    """A redaction is a copy; it works on an event that cannot change, and without content."""
    content = MappingProxyType({"membership": "join", "displayname": "Bob"})
    pdu = MappingProxyType({"type": "m.room.member", "content": content, "unsigned": {}})
    assert redact(ROOM_VERSIONS["12"], pdu) == {"type": "m.room.member", "content": {"membership": "join"}}
    assert content["displayname"] == "Bob"
    assert redact(ROOM_VERSIONS["1"], {"depth": 1}) == {"depth": 1}


@given(
    st.sampled_from(VERSIONS),
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(CONTENT_KEYS), st.integers() | st.dictionaries(st.just("signed"), st.none())),
    st.dictionaries(st.sampled_from(TOP_KEYS + OLD_TOP_KEYS + OTHER_TOP_KEYS), st.integers()),
)
def test_redaction_is_idempotent(
    version: RoomVersion, event_type: str, content: dict[str, Any], others: dict[str, Any]
) -> None:
    """What is redacted already does not change."""
    pdu = {**others, "type": event_type, "content": content}
    once = redact(version, pdu)
    assert redact(version, once) == once
    assert once.items() <= {**pdu, "content": once["content"]}.items()
