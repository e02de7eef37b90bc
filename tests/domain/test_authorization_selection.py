"""Which state an event must cite."""

from typing import Any

import pytest

from homeserver.domain.authorization.selection import auth_state_keys
from homeserver.domain.versions import ROOM_VERSIONS, room_version
from tests.domain.room_builder import ALICE, BOB, CAROL

CREATE, LEVELS, RULES = ("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.join_rules", "")


def keys(version: str, event_type: str, state_key: str | None = None, **content: Any) -> set[tuple[str, str]]:
    selected = auth_state_keys(room_version(version), event_type, ALICE, state_key, content)
    assert len(selected) == len(set(selected))
    return set(selected)


def member(user_id: str) -> tuple[str, str]:
    return ("m.room.member", user_id)


@pytest.mark.parametrize("version", sorted(ROOM_VERSIONS))
def test_any_event(version: str) -> None:
    """A create event cites nothing, any other its sender, the power levels and, before version 12, create."""
    assert keys(version, "m.room.create", "") == set()
    expected = {LEVELS, member(ALICE)} | ({CREATE} if version != "12" else set())
    assert keys(version, "m.room.message") == expected
    assert keys(version, "m.room.topic", "", membership="join") == expected


def test_member_events() -> None:
    """The target and, for those who come, the join rules; of a malformed event without a state key, nothing more."""
    base = {CREATE, LEVELS, member(ALICE)}
    assert keys("11", "m.room.member", ALICE, membership="join") == base | {RULES}
    assert keys("11", "m.room.member", ALICE, membership="knock") == base | {RULES}
    assert keys("11", "m.room.member", BOB, membership="invite") == base | {member(BOB), RULES}
    assert keys("11", "m.room.member", BOB, membership="ban") == base | {member(BOB)}
    assert keys("11", "m.room.member", ALICE, membership="leave") == base
    assert keys("11", "m.room.member", membership="join") == base


def test_third_party_invites() -> None:
    """An invite that redeems a token cites the promise, unless the token cannot be read."""
    promise = ("m.room.third_party_invite", "t")
    signed = {"signed": {"token": "t"}}
    assert promise in keys("1", "m.room.member", BOB, membership="invite", third_party_invite=signed)
    assert promise not in keys("1", "m.room.member", BOB, membership="join", third_party_invite=signed)
    malformed: tuple[object, ...] = ({"signed": {"token": 5}}, {"signed": []}, {}, "x", None)
    for bad in malformed:
        assert len(keys("11", "m.room.member", BOB, membership="invite", third_party_invite=bad)) == 5


def test_restricted_joins() -> None:
    """A join that somebody vouches for cites that member, where the version knows restricted rooms."""

    def selected(version: str, authoriser: object, membership: str = "join") -> set[tuple[str, str]]:
        content = {"membership": membership, "join_authorised_via_users_server": authoriser}
        return keys(version, "m.room.member", ALICE, **content)

    assert member(CAROL) in selected("8", CAROL)
    assert member(CAROL) not in selected("7", CAROL)
    assert member(CAROL) not in selected("8", CAROL, "leave")
    assert len(selected("8", ALICE)) == len(selected("8", 5)) == 4
