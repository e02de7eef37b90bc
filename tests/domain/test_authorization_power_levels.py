"""Changing power levels: nobody gives, or takes, more than they have."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.authorization.rules import authorize
from homeserver.domain.versions import room_version
from tests.domain.room_builder import ALICE, BOB, CAROL, DAVE, Room, make_event

BASE: dict[str, Any] = {
    "users": {ALICE: 100, BOB: 50, CAROL: 50},
    "events": {"m.room.power_levels": 50, "m.room.topic": 60, "m.room.name": 40},
    "notifications": {"room": 60},
    "ban": 60,
    "kick": 40,
}


def why(
    content: dict[str, Any], sender: str = BOB, version: str = "11", before: dict[str, Any] | None = BASE
) -> str | None:
    """Why the sender may not change the levels from `before` to `content`, or None."""
    rules = room_version(version)
    create = make_event(rules, "$create", ALICE, "m.room.create", {"creator": ALICE}, "", room_id="!create")
    state = {create.key: create}
    for user_id in (ALICE, BOB, CAROL):
        member = make_event(rules, f"${user_id}", user_id, "m.room.member", {"membership": "join"}, user_id)
        state[member.key] = member
    if before is not None:
        levels = make_event(rules, "$levels", ALICE, "m.room.power_levels", before, "")
        state[levels.key] = levels
    event = make_event(rules, "$new", sender, "m.room.power_levels", content, "", room_id="!create")
    return authorize(event, state.get)


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**BASE, **changes}.items() if value is not ...}


def test_no_change_and_small_changes() -> None:
    """Everything up to the own level is free."""
    assert why(BASE) is None
    assert why(changed(kick=50, invite=10, redact=50)) is None
    assert why(changed(kick=...)) is None
    assert why(changed(events={**BASE["events"], "m.room.name": 50, "x": 50})) is None
    assert why(changed(users={**BASE["users"], DAVE: 50})) is None


@pytest.mark.parametrize(
    "name", ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
)
def test_named_levels(name: str) -> None:
    """Neither the old nor the new value may exceed the sender's level."""
    assert "may not change" in (why(changed(**{name: 51})) or "")
    high = {**BASE, name: 60}
    assert "may not change" in (why({**BASE, name: 50}, before=high) or "")
    assert "may not change" in (why({key: BASE[key] for key in BASE if key != name}, before=high) or "")
    assert why(high, before=high) is None


@pytest.mark.parametrize("name", ["events", "notifications"])
def test_nested_levels(name: str) -> None:
    """The same for each entry of events and notifications."""
    key = "m.room.topic" if name == "events" else "room"
    entries = BASE[name]
    for bad in ({**entries, key: 50}, {k: v for k, v in entries.items() if k != key}, {**entries, "new": 51}):
        assert f"in {name}" in (why(changed(**{name: bad})) or "")
    assert f"in {name}" in (why(changed(**{name: ...})) or "")


def test_notifications_of_older_rooms() -> None:
    """Until version 5 anybody who may send power levels may change the notifications."""
    assert why(changed(notifications={"room": 5}), version="5") is None
    assert why(changed(notifications={"room": 5}), version="6") is not None


@pytest.mark.parametrize("odd", [True, "loud", {"room": "0x10"}, [1]])
def test_odd_notifications_of_older_rooms(odd: Any) -> None:
    """No rule of room versions 1 to 5 looks at `notifications`: whatever stands there is no reason to refuse."""
    assert why(changed(notifications=odd), version="5") is None
    assert why(changed(notifications=odd), version="6") is not None


def test_users() -> None:
    """Equals and betters cannot be changed, nobody rises above the sender, and all may step down."""
    users = BASE["users"]
    assert "no less powerful" in (why(changed(users={**users, CAROL: 10})) or "")
    assert "no less powerful" in (why(changed(users={ALICE: 100, BOB: 50})) or "")
    assert "no less powerful" in (why(changed(users={**users, ALICE: 50})) or "")
    assert "more power than" in (why(changed(users={**users, DAVE: 51})) or "")
    assert "more power than" in (why(changed(users={**users, BOB: 51})) or "")
    assert why(changed(users={**users, BOB: 10})) is None
    assert why(changed(users={ALICE: 100, CAROL: 50})) is None
    assert why(changed(users={**users, CAROL: 10}), sender=ALICE) is None


def test_the_first_power_levels() -> None:
    """Without earlier levels, whoever may send the event may write anything."""
    assert why({"users": {BOB: 1000}}, sender=ALICE, before=None) is None
    assert why({"users": {BOB: 1000}}, sender=BOB, before=None) == "The sender may not send m.room.power_levels."


@pytest.mark.parametrize(
    "bad",
    [
        {"ban": "50"},
        {"ban": 50.0},
        {"users_default": None},
        {"invite": True},
        {"events": []},
        {"events": {"m.room.name": "40"}},
        {"notifications": 5},
        {"notifications": {"room": None}},
        {"users": []},
        {"users": {"bob": 50}},
        {"users": {"@bob": 50}},
        {"users": {BOB: "50"}},
    ],
)
def test_strict_shape(bad: dict[str, Any]) -> None:
    """Since version 10 all levels are integers, in the first event as in any other."""
    for version in ("10", "11", "12"):
        assert why(bad, sender=ALICE, before=None, version=version) is not None


@pytest.mark.parametrize(
    "bad", [{"users": []}, {"users": None}, {"users": {"bob": 50}}, {"users": {BOB: "x"}}, {"ban": 1e400}]
)
def test_old_shape(bad: dict[str, Any]) -> None:
    """In older rooms the users must have readable levels, and no number may be beyond a double."""
    assert why(bad, sender=ALICE, before=None, version="9") is not None
    assert why({"ban": 2**1024}, sender=ALICE, before=None, version="1") is not None


def test_old_rooms_tolerate() -> None:
    """Old rooms take strings and floats for integers; garbage only in the first event, where it counts as absent."""
    assert (
        why({"users": {ALICE: "100", BOB: " +50 "}, "ban": "x", "events": 5}, sender=ALICE, before=None, version="9")
        is None
    )
    strings: dict[str, Any] = {
        "users": {ALICE: "100", BOB: "50", CAROL: 50.9},
        "ban": "60",
        "kick": " +40",
        "redact": None,
    }
    numbers: dict[str, Any] = {"users": {ALICE: 100, BOB: 50, CAROL: 50}, "ban": 60, "kick": 40.2}
    event_level = {"events": {"m.room.power_levels": "50"}}
    assert why({**numbers, **event_level}, before={**strings, **event_level}, version="5") is None
    assert "no integer" in (why({**numbers, "ban": "x"}, sender=ALICE, before=numbers, version="9") or "")
    assert "not an object" in (why({**numbers, "events": 5}, sender=ALICE, before=numbers, version="9") or "")
    assert why({**numbers, "redact": None}, sender=ALICE, before=numbers, version="9") is None


def test_creators_stand_above() -> None:
    """In version 12 the levels must not name a creator, and a creator may change everything."""
    room = Room("12", create_content={"additional_creators": [BOB]})
    room.power(ALICE, {"users": {CAROL: 2**53 - 1}, "ban": 2**53 - 1})
    assert not room.rejected
    for named in (ALICE, BOB):
        event = room.draft(ALICE, "m.room.power_levels", {"users": {named: 0}}, "")
        assert authorize(event, room.standing) == "The power levels name a creator of the room."
    assert authorize(room.draft(ALICE, "m.room.power_levels", {}, ""), room.standing) is None


level = st.integers(-10, 110)
contents = st.fixed_dictionaries(
    {},
    optional={
        "users": st.dictionaries(st.sampled_from([ALICE, BOB, CAROL, DAVE]), level),
        "events": st.dictionaries(st.sampled_from(["m.room.power_levels", "m.room.topic"]), level),
        "ban": level,
        "users_default": level,
        "state_default": level,
    },
)


@settings(max_examples=150)
@given(before=contents, after=contents)
def test_nobody_rises_by_their_own_hand(before: dict[str, Any], after: dict[str, Any]) -> None:
    """However levels are changed by Bob, nobody above him is touched and nobody ends above him by the users list."""
    if why(after, before=before) is not None:
        return
    bob = before.get("users", {}).get(BOB, before.get("users_default", 0))
    old, new = before.get("users", {}), after.get("users", {})
    for user_id in {*old, *new} - {BOB}:
        if old.get(user_id) != new.get(user_id):
            assert old.get(user_id, bob - 1) < bob
            assert new.get(user_id, bob) <= bob
    assert new.get(BOB, bob) <= bob
