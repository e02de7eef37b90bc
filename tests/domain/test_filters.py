"""Filters: what they let through, and how they refuse nonsense."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.domain.filters import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    EventFilter,
    SyncFilter,
    parse_event_filter,
    parse_sync_filter,
    property_path,
    select_fields,
)

ALICE, BOB, ROOM, OTHER = "@alice:x", "@bob:x", "!room:x", "!other:x"


def lets(raw: dict[str, Any], type_: str = "m.room.message", sender: str = ALICE, room: str | None = ROOM) -> bool:
    return parse_event_filter(raw).matches(type_, sender, room, {"body": "hi"})


def test_the_empty_filter_is_everything() -> None:
    """No filter, an empty one and one of empty exclusions keep nothing back and have the defaults."""
    assert parse_sync_filter({}) == parse_sync_filter(None) == SyncFilter()
    empty = parse_event_filter({"not_types": [], "not_senders": [], "not_rooms": []})
    assert empty == EventFilter() and empty.is_everything and empty.limit == DEFAULT_LIMIT
    assert SyncFilter().event_format == "client"
    assert not SyncFilter().room.include_leave
    assert parse_event_filter({"limit": 3, "lazy_load_members": True}).is_everything


def test_wanted_lists() -> None:
    """Only what is listed passes; an empty list wants nothing."""
    assert lets({"types": ["m.room.message"]}) and not lets({"types": ["m.room.topic"]})
    assert lets({"senders": [ALICE]}) and not lets({"senders": [BOB]})
    assert lets({"rooms": [ROOM]}) and not lets({"rooms": [OTHER]})
    assert not lets({"types": []}) and not lets({"senders": []}) and not lets({"rooms": []})
    assert not parse_event_filter({"types": []}).is_everything


def test_unwanted_lists_win() -> None:
    """What is excluded stays out even if it is also listed as wanted."""
    assert not lets({"types": ["m.*"], "not_types": ["m.room.message"]})
    assert not lets({"senders": [ALICE], "not_senders": [ALICE]})
    assert not lets({"rooms": [ROOM], "not_rooms": [ROOM]})
    assert lets({"not_types": ["m.room.topic"], "not_senders": [BOB], "not_rooms": [OTHER]})


def test_wildcards_in_types() -> None:
    """A star stands for any sequence of characters, and nothing else is special."""
    assert lets({"types": ["m.room.*"]}) and lets({"types": ["*"]}) and lets({"types": ["m.*.mess*e"]})
    assert not lets({"types": ["m.room.?essage"]}) and not lets({"types": ["M.ROOM.*"]})
    assert not lets({"types": ["m.room.message*message"]})
    assert not lets({"not_types": ["*.message"]})


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
@settings(max_examples=300)
def test_wildcards_equal_a_regular_expression(pattern: str, type_: str) -> None:
    """The one-pass match finds what backtracking finds."""
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), type_) is not None
    assert parse_event_filter({"types": [pattern]}).matches(type_, ALICE, ROOM, {}) == expected


def test_rooms_do_not_bind_what_stands_in_no_room() -> None:
    """Presence and account data have no room; a list of rooms does not keep them back."""
    assert lets({"rooms": [OTHER]}, room=None)


def test_contains_url() -> None:
    """True wants events with a url, false those without, absent both."""
    for wanted, with_url, without in ((True, True, False), (False, False, True), (None, True, True)):
        parsed = parse_event_filter({} if wanted is None else {"contains_url": wanted})
        assert parsed.matches("m.room.message", ALICE, ROOM, {"url": "mxc://x/y"}) is with_url
        assert parsed.matches("m.room.message", ALICE, ROOM, {}) is without


def test_room_filter_and_flags() -> None:
    """Every part of a sync filter is read into its place."""
    parsed = parse_sync_filter(
        {
            "event_format": "federation",
            "event_fields": ["content.body", "sender"],
            "presence": {"types": ["m.presence"]},
            "account_data": {"not_types": ["m.direct"]},
            "room": {
                "rooms": [ROOM],
                "not_rooms": [OTHER],
                "include_leave": True,
                "ephemeral": {"types": []},
                "state": {"lazy_load_members": True, "include_redundant_members": True},
                "timeline": {"limit": 20, "unread_thread_notifications": True},
                "account_data": {"types": ["m.tag"]},
            },
            "org.example.unknown": 7,
        }
    )
    assert parsed.event_fields == (("content", "body"), ("sender",))
    assert parsed.event_format == "federation"
    assert not parsed.presence.matches("m.typing", ALICE, None, {})
    assert not parsed.account_data.matches("m.direct", ALICE, None, {})
    assert parsed.room.matches_room(ROOM) and not parsed.room.matches_room(OTHER) and parsed.room.include_leave
    assert not parsed.room.ephemeral.is_everything
    assert parsed.room.state.lazy_load_members and parsed.room.state.include_redundant_members
    assert parsed.room.timeline.limit == 20 and parsed.room.timeline.unread_thread_notifications
    assert parsed.room.account_data.matches("m.tag", ALICE, ROOM, {})


def test_limits_are_capped() -> None:
    """A limit above the maximum is the maximum."""
    assert parse_event_filter({"limit": 10**9}).limit == MAX_LIMIT


def test_filters_are_keys() -> None:
    """Equal filters are one key, whatever the order of their lists."""
    one = parse_sync_filter({"room": {"timeline": {"types": ["a", "b*"], "senders": [ALICE, BOB]}}})
    two = parse_sync_filter({"room": {"timeline": {"types": ["b*", "a"], "senders": [BOB, ALICE]}}})
    assert {one: "view"}[two] == "view"
    assert one != SyncFilter()


@pytest.mark.parametrize(
    ("raw", "errcode", "key"),
    [
        ([], "M_BAD_JSON", "filter"),
        ("{", "M_BAD_JSON", "filter"),
        ({"room": []}, "M_BAD_JSON", "room"),
        ({"room": {"timeline": 1}}, "M_BAD_JSON", "room.timeline"),
        ({"room": {"timeline": {"limit": "10"}}}, "M_BAD_JSON", "room.timeline.limit"),
        ({"room": {"timeline": {"limit": True}}}, "M_BAD_JSON", "room.timeline.limit"),
        ({"room": {"timeline": {"limit": 1.5}}}, "M_BAD_JSON", "room.timeline.limit"),
        ({"room": {"timeline": {"limit": 0}}}, "M_INVALID_PARAM", "room.timeline.limit"),
        ({"room": {"timeline": {"limit": -3}}}, "M_INVALID_PARAM", "room.timeline.limit"),
        ({"room": {"state": {"lazy_load_members": 1}}}, "M_BAD_JSON", "room.state.lazy_load_members"),
        ({"room": {"include_leave": "yes"}}, "M_BAD_JSON", "room.include_leave"),
        ({"room": {"rooms": ["room"]}}, "M_INVALID_PARAM", "room.rooms"),
        ({"room": {"rooms": [1]}}, "M_BAD_JSON", "room.rooms"),
        ({"presence": {"senders": ["alice"]}}, "M_INVALID_PARAM", "presence.senders"),
        ({"presence": {"types": "m.presence"}}, "M_BAD_JSON", "presence.types"),
        ({"presence": {"types": ["a"] * 1001}}, "M_INVALID_PARAM", "presence.types"),
        ({"presence": {"types": ["a" * 513]}}, "M_INVALID_PARAM", "presence.types"),
        ({"event_fields": [None]}, "M_BAD_JSON", "event_fields"),
        ({"event_format": "xml"}, "M_INVALID_PARAM", "event_format"),
        ({"event_format": []}, "M_INVALID_PARAM", "event_format"),
    ],
)
def test_nonsense_is_refused_by_name(raw: object, errcode: str, key: str) -> None:
    """Each mistake is a 400 that says which key is wrong."""
    with pytest.raises(BadRequest) as refused:
        parse_sync_filter(raw)
    assert refused.value.errcode == errcode
    assert refused.value.message.startswith(key + " ")


@pytest.mark.parametrize(
    ("dotted", "path"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to.rel_type", ("content", "m.relates_to", "rel_type")),
        (r"content.m\\foo", ("content", "m\\foo")),
        (r"content.a\x", ("content", r"a\x")),
        ("content.a\\", ("content", "a\\")),
        ("", ("",)),
        ("a..b", ("a", "", "b")),
    ],
)
def test_property_paths(dotted: str, path: tuple[str, ...]) -> None:
    """Dots part names, backslashes escape dots and backslashes, and other backslashes stay."""
    assert property_path(dotted) == path


def test_select_fields() -> None:
    """Only the properties asked for are left, in their places; what is missing is no error; the event stays whole."""
    event = {"type": "t", "sender": ALICE, "content": {"body": "b", "m.x": {"y": 1, "z": 2}, "list": [1]}}
    paths = parse_sync_filter({"event_fields": ["type", r"content.m\.x.y", "content.nothing", "body.no"]}).event_fields
    assert select_fields(event, paths) == {"type": "t", "content": {"m.x": {"y": 1}}}
    assert select_fields(event, None) == event
    assert select_fields(event, ()) == {}
    both = select_fields(event, (("content", "body"), ("content",), ("content", "list", "x")))
    assert both == {"content": event["content"]}
    assert event["content"] == {"body": "b", "m.x": {"y": 1, "z": 2}, "list": [1]}
