"""The grammar of identifiers."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import (
    domain_of,
    fits,
    is_event_id,
    is_key_id,
    is_new_localpart,
    is_opaque_id,
    is_room_alias,
    is_room_id,
    is_server_name,
    is_user_id,
    parse_user_id,
)

HASH = "Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
IS_FUNCTIONS = (is_server_name, is_user_id, is_room_id, is_room_alias, is_event_id, is_opaque_id, is_key_id)
json_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "chat",
        "EXAMPLE.org",
        "a-b.c",
        "[::ffff:1.2.3.4]",
        "x" * 255,
        "1.2.3.4.5",
        "1.2.3",
    ],
)
def test_server_names_of_the_spec_are_accepted(name: str) -> None:
    """Names, IPv4 and IPv6 literals, with and without a port; also a host without a dot."""
    assert is_server_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":8448",
        "a:",
        "a:b",
        "a:123456",
        "a:65536",
        "a b",
        "a_b",
        "256.1.1.1",
        "1.2.3.4444",
        "::1",
        "[::1",
        "[]",
        "[1]",
        "[gggg::]",
        "[::1%eth0]",
        "..",
        "a..b",
        ".a",
        "a.",
        "x" * 256,
        "x" * 251 + ":8448",
        "héllo",
        "a\n",
        "a:8٣",
        "a/b",
    ],
)
def test_what_is_no_server_name_is_refused(name: str) -> None:
    """Neither wrong characters and numbers nor empty labels pass."""
    assert not is_server_name(name)


@pytest.mark.parametrize(
    ("user_id", "parts"),
    [
        ("@alice:example.org", ("alice", "example.org")),
        ("@a.b_c=d-e/f+g:chat:8448", ("a.b_c=d-e/f+g", "chat:8448")),
        ("@:example.org", ("", "example.org")),
        ("@Alice Ünï\n:[::1]:1", ("Alice Ünï\n", "[::1]:1")),
    ],
)
def test_user_ids_are_taken_apart(user_id: str, parts: tuple[str, str]) -> None:
    """A user id, new or historical, is its localpart and its server name."""
    assert is_user_id(user_id)
    assert parse_user_id(user_id) == parts


@pytest.mark.parametrize(
    "text",
    ["", "@", "@alice", "alice:example.org", "@a\0b:example.org", "@\ud800:example.org", "@a:b:c", "@a:", "!a:b"],
)
def test_what_is_no_user_id_is_refused(text: str) -> None:
    """Every user id has a sigil, a domain, and neither NUL nor lone surrogates."""
    assert not is_user_id(text)
    with pytest.raises(BadRequest):
        parse_user_id(text)


@pytest.mark.parametrize(("sigil", "is_id"), [("@", is_user_id), ("!", is_room_id), ("#", is_room_alias)])
def test_lengths_are_counted_in_bytes(sigil: str, is_id: Callable[[object], bool]) -> None:
    """255 bytes fit, 256 do not, and a letter beyond ASCII has more than one."""
    assert is_id(sigil + "x" * 252 + ":s")
    assert not is_id(sigil + "x" * 253 + ":s")
    assert is_id(sigil + "é" * 126 + ":s")
    assert not is_id(sigil + "é" * 127 + ":s")


def test_new_localparts_are_narrower_than_historical_ones() -> None:
    """Only the letters of the strict grammar make a new account."""
    assert is_new_localpart("a.b_c=d-e/f+g0")
    for text in ("", "Alice", "é", "a b", "a:b", "a\n", "@a"):
        assert not is_new_localpart(text)


def test_room_ids_have_a_domain_or_are_a_hash() -> None:
    """Rooms of version 12 have an id without a domain."""
    assert is_room_id("!abc:example.org")
    assert is_room_id("!" + HASH)
    for text in ("!", "!abc", "!" + HASH + "a", "!" + HASH[:-1] + "+", "$" + HASH, "!abc:", "#a:example.org", ""):
        assert not is_room_id(text)


def test_aliases_and_event_ids() -> None:
    """An alias always has a domain; what follows the sigil of an event id is opaque."""
    assert is_room_alias("#Ünï codé:example.org")
    assert not is_room_alias("#alias")
    for text in ("$" + HASH, "$a/b+c", "$opaque:example.org"):
        assert is_event_id(text)
    for text in ("$", "", "a", "$" + "x" * 255, "$\0"):
        assert not is_event_id(text)


def test_opaque_ids_and_key_ids() -> None:
    """Opaque ids use the unreserved characters; a key id is an algorithm and a version."""
    assert is_opaque_id("aZ0-._~")
    assert not is_opaque_id("")
    assert not is_opaque_id("x" * 256)
    assert not is_opaque_id("a b")
    assert is_key_id("ed25519:a_Xy1")
    for text in ("ed25519:", "ed25519", "ed25519:a-b", ":a", "ed25519:" + "x" * 255):
        assert not is_key_id(text)


def test_domain_of_is_what_follows_the_first_colon() -> None:
    """A port belongs to the domain; a room id of version 12 has none."""
    assert domain_of("@a:chat:8448") == "chat:8448"
    with pytest.raises(BadRequest):
        domain_of("!" + HASH)


def test_fits_counts_bytes() -> None:
    """The limit is in bytes of UTF-8."""
    assert fits("éé", limit=4)
    assert not fits("éé", limit=3)


@given(json_scalars | st.lists(json_scalars) | st.dictionaries(st.text(), json_scalars))
def test_any_json_value_gets_an_answer(value: object) -> None:
    """No value from outside raises."""
    assert all(is_id(value) in (True, False) for is_id in IS_FUNCTIONS)


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters=":\0"), max_size=60))
def test_every_historical_localpart_round_trips(localpart: str) -> None:
    """Servers must accept any localpart without `:` and NUL."""
    assert parse_user_id(f"@{localpart}:example.org") == (localpart, "example.org")
