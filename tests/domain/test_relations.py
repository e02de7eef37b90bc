"""What `m.relates_to` says, and that nothing in it can raise."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.relations import (
    Relation,
    is_thread_fallback,
    may_replace,
    relation_of,
    replacement_target,
    reply_target,
    thread_root,
)


def relates(**relates_to: Any) -> dict[str, Any]:
    return {"m.relates_to": relates_to}


def test_annotation_has_a_key() -> None:
    """A reaction names its event and its key."""
    content = relates(rel_type="m.annotation", event_id="$message", key="👍")
    assert relation_of(content) == Relation("m.annotation", "$message", "👍")


def test_thread_with_a_reply_has_both() -> None:
    """An event of a thread has the root as its relation and, besides, the event that it answers."""
    content = {
        "m.relates_to": {
            "rel_type": "m.thread",
            "event_id": "$root",
            "m.in_reply_to": {"event_id": "$latest"},
            "is_falling_back": True,
        }
    }
    assert thread_root(content) == "$root"
    assert reply_target(content) == "$latest"
    assert is_thread_fallback(content)
    assert replacement_target(content) is None


def test_a_plain_reply_is_no_relation() -> None:
    """A rich reply has no rel_type."""
    content = {"m.relates_to": {"m.in_reply_to": {"event_id": "$question"}, "is_falling_back": True}}
    assert relation_of(content) is None
    assert reply_target(content) == "$question"
    assert not is_thread_fallback(content)


def test_an_edit_names_its_original() -> None:
    """m.replace is found as a replacement and not as a thread."""
    content = relates(rel_type="m.replace", event_id="$original")
    assert replacement_target(content) == "$original"
    assert thread_root(content) is None


def test_malformed_relations_are_ignored() -> None:
    """Missing, wrongly typed, empty and overlong parts make no relation; a key that is no string is none."""
    for broken in (
        {},
        {"m.relates_to": None},
        {"m.relates_to": ["m.thread"]},
        relates(rel_type="m.thread"),
        relates(event_id="$root"),
        relates(rel_type=["m.thread"], event_id="$root"),
        relates(rel_type="", event_id="$root"),
        relates(rel_type="m" * 256, event_id="$root"),
        relates(rel_type="m.thread", event_id="root"),
        relates(rel_type="m.thread", event_id="$"),
        relates(rel_type="m.thread", event_id="$" + "a" * 255),
        relates(rel_type="m.thread", event_id=7),
    ):
        assert relation_of(broken) is None
        assert thread_root(broken) is None
        assert reply_target(broken) is None
    assert relation_of(relates(rel_type="m.annotation", event_id="$a", key=3)) == Relation("m.annotation", "$a")


LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from(["$e", "m.thread", "m.replace", ""])
KEYS = st.sampled_from(["m.relates_to", "rel_type", "event_id", "m.in_reply_to", "key", "is_falling_back"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=12)


@given(st.dictionaries(KEYS, JSON))
@settings(max_examples=200)
def test_no_content_raises(content: dict[str, Any]) -> None:
    """Whatever JSON comes, each question has an answer of its type."""
    relation = relation_of(content)
    assert relation is None or relation.event_id.startswith("$")
    for found in (thread_root(content), replacement_target(content), reply_target(content)):
        assert found is None or found.startswith("$")


@pytest.mark.parametrize(
    ("type", "is_state", "content", "may"),
    [
        ("m.room.message", False, {"m.new_content": {}}, True),
        ("m.room.message", False, {}, False),
        ("m.room.message", False, {"m.new_content": "text"}, False),
        ("m.room.message", True, {"m.new_content": {}}, False),
        ("m.room.encrypted", False, {}, True),
        ("m.room.encrypted", True, {}, False),
    ],
)
def test_edits_hold_new_content(type: str, is_state: bool, content: dict[str, object], may: bool) -> None:
    """Or something encrypted, of which nobody can say; and are no state."""
    assert may_replace(type, is_state, content) is may
