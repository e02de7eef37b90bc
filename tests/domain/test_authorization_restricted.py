"""Joining a restricted room with somebody's word."""

from typing import Any

import pytest

from homeserver.domain.authorization.restricted import check_authorising_signature
from homeserver.domain.authorization.rules import authorize
from homeserver.domain.event import Event
from homeserver.domain.versions import room_version
from tests.domain.room_builder import ALICE, BOB, CAROL, DAVE, Room, make_event, public_room


def vouched(room: Room, authoriser: object, **options: Any) -> str | None:
    content = {"membership": "join", "join_authorised_via_users_server": authoriser}
    return authorize(room.draft(DAVE, "m.room.member", content, DAVE, **options), room.standing)


def restricted_room(version: str = "10", rule: str = "restricted", **levels: Any) -> Room:
    room = public_room(version)
    room.power(ALICE, {"users": {ALICE: 100, BOB: 50}, "invite": 50, **levels})
    room.join_rule(ALICE, rule)
    return room


@pytest.mark.parametrize(("version", "rule"), [("8", "restricted"), ("11", "restricted"), ("10", "knock_restricted")])
def test_somebody_who_may_invite_vouches(version: str, rule: str) -> None:
    """A joined member with the invite level opens the door; others do not."""
    room = restricted_room(version, rule)
    assert vouched(room, BOB) is None
    assert vouched(room, CAROL) == "The user who vouches for this join may not invite."
    assert vouched(room, "@nobody:b.example") == "The user who vouches for this join is not joined."
    room.member(ALICE, BOB, "leave")
    assert vouched(room, BOB) == "The user who vouches for this join is not joined."
    for nobody in (None, 5, ""):
        assert vouched(room, nobody) is not None


def test_the_invited_need_nobody() -> None:
    """An invitation, or being inside, is enough."""
    room = restricted_room()
    assert vouched(room, None) == "Nobody vouches for this join to a restricted room."
    room.member(BOB, DAVE, "invite")
    assert vouched(room, None) is None
    room.join(DAVE)
    assert vouched(room, None) is None


@pytest.mark.parametrize(("version", "rule"), [("7", "restricted"), ("9", "knock_restricted")])
def test_older_rooms_know_no_such_rule(version: str, rule: str) -> None:
    """A rule that the version does not know lets nobody in."""
    assert vouched(restricted_room(version, rule), BOB) == "The join rules let nobody in."


def join(version: str, content: dict[str, Any], **options: Any) -> Event:
    return make_event(
        room_version(version), "$j", DAVE, "m.room.member", {"membership": "join", **content}, DAVE, **options
    )


def test_the_vouching_server_signs() -> None:
    """The server of the user who vouches must be among the signatures, where the version knows such joins."""
    content = {"join_authorised_via_users_server": BOB}
    signed = {"b.example": {"ed25519:1": "x"}}
    assert check_authorising_signature(join("11", content, signatures=signed)) is None
    assert check_authorising_signature(join("11", {})) is None
    assert check_authorising_signature(join("7", content)) is None
    assert check_authorising_signature(make_event(room_version("11"), "$m", DAVE, "m.room.message", content)) is None
    useless: tuple[object, ...] = ({}, {"d.example": {}}, {"b.example": {}}, None, [])
    for signatures in useless:
        assert check_authorising_signature(join("11", content, signatures=signatures)) is not None
    assert (
        check_authorising_signature(join("11", {"join_authorised_via_users_server": 5}, signatures=signed)) is not None
    )
