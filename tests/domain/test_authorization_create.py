"""The rules for create events."""

from dataclasses import replace
from typing import Any

import pytest

from homeserver.domain.authorization.create import create_event_id, server_of
from homeserver.domain.authorization.rules import authorize, check_auth_events
from homeserver.domain.event import Event, StateKey
from homeserver.domain.versions import ROOM_VERSIONS, room_version
from tests.domain.room_builder import ALICE, BOB, make_event

NOTHING: dict[StateKey, Event] = {}


def verdict(version: str, content: dict[str, Any], **options: Any) -> str | None:
    event = make_event(room_version(version), "$create", ALICE, "m.room.create", content, "", **options)
    assert check_auth_events(event, {}, ()) is None
    return authorize(event, NOTHING.get)


@pytest.mark.parametrize("version", sorted(ROOM_VERSIONS))
def test_a_proper_create_event(version: str) -> None:
    """Every version takes its own, and none with previous events."""
    content = {"room_version": version, "creator": ALICE}
    assert verdict(version, content) is None
    assert "no previous events" in (verdict(version, content, prev_events=["$x"]) or "")


def test_the_room_version_must_exist() -> None:
    """A room version that nobody knows is refused; leaving it out is fine."""
    assert verdict("11", {}) is None
    for unknown in ("13", "", 11, None, ["11"]):
        assert "unknown room version" in (verdict("11", {"room_version": unknown}) or "")


def test_the_creator() -> None:
    """The content must name a creator until version 11."""
    assert "names no creator" in (verdict("10", {}) or "")
    assert verdict("11", {}) is None


def test_the_room_id() -> None:
    """The room id is of the sender's server, or not in the event at all."""
    assert "different servers" in (verdict("11", {}, room_id="!r:b.example") or "")
    event = make_event(room_version("12"), "$c", ALICE, "m.room.create", {}, "", room_id="!c")
    assert authorize(event, NOTHING.get) is None
    assert "must not name its room" in (
        authorize(replace(event, pdu={**event.pdu, "room_id": "!c"}), NOTHING.get) or ""
    )


@pytest.mark.parametrize("additional", [None, ALICE, [5], ["bob"], ["@bob"], [BOB, "@b:"], ["@" + "b" * 255 + ":x"]])
def test_malformed_additional_creators(additional: object) -> None:
    """Additional creators are a list of user ids, where they mean anything."""
    assert "additional creators" in (verdict("12", {"additional_creators": additional}) or "")
    assert verdict("11", {"additional_creators": additional}) is None
    assert verdict("12", {"additional_creators": [BOB]}) is None
    assert verdict("12", {"additional_creators": []}) is None


def test_identifiers() -> None:
    """The frame of ids."""
    assert server_of("@a:b:8448") == "b:8448"
    assert server_of("$hash") == ""
    assert create_event_id("!hash") == "$hash"
