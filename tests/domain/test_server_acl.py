"""Server ACLs: what the spec says of them, and lists that are written to be slow."""

import fnmatch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.server_acl import Globs, ServerAcl, host_of


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("evil.com", "evil.com"),
        ("evil.com:8448", "evil.com"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("[::1]", "[::1]"),
        ("[::1]:8448", "[::1]"),
    ],
)
def test_ports_are_not_considered(name: str, host: str) -> None:
    """`evil.com`, `evil.com:8448` and `evil.com:1234` are one to the lists."""
    assert host_of(name) == host


@pytest.mark.parametrize(
    ("content", "allowed", "denied"),
    [
        ({}, [], ["a.example"]),
        ({"allow": ["*"]}, ["a.example", "1.2.3.4", "[::1]:80"], []),
        ({"allow": ["*"], "allow_ip_literals": False}, ["a.example", "1.2.3"], ["1.2.3.4", "1.2.3.4:80", "[::1]:80"]),
        ({"allow": ["*"], "allow_ip_literals": "no"}, ["1.2.3.4"], []),
        (
            {"allow": ["*"], "deny": ["*.evil.com", "evil.com"]},
            ["notevil.com", "evil.com.org"],
            ["evil.com", "EVIL.com:8448", "a.b.Evil.Com"],
        ),
        ({"allow": ["*"], "deny": ["*.EVIL.com"]}, ["evil.com"], ["a.evil.com"]),
        ({"allow": ["a.example"], "deny": ["a.example"]}, [], ["a.example"]),
        ({"allow": ["?.example"]}, ["a.example", "b.example:1"], ["ab.example", ".example"]),
        ({"allow": ["*"], "deny": ["evil.com:8448"]}, ["evil.com", "evil.com:8448"], []),
        ({"allow": ["*"], "deny": "*"}, ["a.example"], []),
        ({"allow": ["*"], "deny": [None, 1, {}, "a.example"]}, ["b.example"], ["a.example"]),
        ({"allow": "*", "deny": []}, [], ["a.example"]),
        ({"allow": ["[::1]"]}, ["[::1]", "[::1]:8448"], ["[::2]"]),
        ({"allow": [""]}, [], ["a.example"]),
    ],
)
def test_the_order_of_the_spec(content: dict[str, object], allowed: list[str], denied: list[str]) -> None:
    """IP literals, then deny, then allow, else deny; what is no list, or no text in it, is not there."""
    acl = ServerAcl(content)
    assert [name for name in allowed if not acl.allows(name)] == []
    assert [name for name in denied if acl.allows(name)] == []


@settings(max_examples=300)
@given(st.lists(st.text("ab.*?", max_size=6), max_size=4), st.text("ab.", max_size=8))
def test_globs_equal_the_oracle(globs: list[str], text: str) -> None:
    """The automaton agrees with the standard library on every list."""
    assert Globs(globs).match(text) == any(fnmatch.fnmatchcase(text, glob) for glob in globs)


@pytest.mark.parametrize(
    "globs",
    [
        [f"evil{number}.*.example" for number in range(50_000)],
        ["*a" * 30_000 + "b"],
        ["*?" * 120 + "*b"] * 270,
        ["a?" * 100 + "*" + "?a" * 27 + "b"] * 250,
        ["**a" * 60 + "b"] * 360,
    ],
    ids=["50k globs", "stars", "question marks", "mixed", "two in a row"],
)
def test_attack_20_lists_that_are_made_to_be_slow(globs: list[str]) -> None:
    """Whatever the globs are, a server is judged in a step per character (else this would never end); what they deny
    stays denied."""
    acl = ServerAcl({"allow": ["*"], "deny": [*globs, "*.denied.example"]})
    name = "a" * 240
    assert acl.allows(name)
    assert not acl.allows("x.DENIED.example:8448")
