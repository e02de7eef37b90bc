"""Power levels as the rules read them, for every room version."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.event import Event
from homeserver.domain.power import Action, PowerLevels, creators, read_level
from homeserver.domain.versions import ROOM_VERSIONS, room_version
from tests.domain.room_builder import ALICE, BOB, CAROL, DAVE, make_event

OLD, STRICT, V11, V12 = (room_version(identifier) for identifier in ("9", "10", "11", "12"))


def create_event(version: str, sender: str = ALICE, **content: Any) -> Event:
    return make_event(room_version(version), "$create", sender, "m.room.create", content, "")


def levels(version: str, content: dict[str, Any] | None, create: Event | None = None) -> PowerLevels:
    rules = room_version(version)
    event = None if content is None else make_event(rules, "$pl", ALICE, "m.room.power_levels", content, "")
    return PowerLevels(rules, create, event)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (50, 50),
        ("100", 100),
        (" +00100 ", 100),
        ("\t-5\n", -5),
        (50.57, 50),
        (-50.57, -50),
        (5.114698e4, 51146),
        ("50.5", None),
        ("5e1", None),
        ("1_000", None),
        ("٣", None),
        ("", None),
        ("9" * 401, None),
        ("9" * 400, None),
        (math.inf, None),
        (math.nan, None),
        (2**1024, None),
        (True, None),
        (None, None),
        ([50], None),
    ],
)
def test_levels_of_old_rooms(value: object, level: int | None) -> None:
    """Before version 10 strings hold integers, floats are truncated, and nothing crashes."""
    assert read_level(OLD, value) == level


@pytest.mark.parametrize(("value", "level"), [(50, 50), ("50", None), (50.0, None), (True, None), (None, None)])
def test_levels_of_strict_rooms(value: object, level: int | None) -> None:
    """Since version 10 only integers are levels."""
    assert read_level(STRICT, value) == level


def test_creators() -> None:
    """The creator is named in the content, then is the sender, then can be several."""
    assert creators(OLD, create_event("9", BOB, creator=ALICE)) == {ALICE}
    assert creators(OLD, create_event("9", BOB, creator=5)) == set()
    assert creators(OLD, None) == set()
    assert creators(V11, create_event("11", BOB, creator=ALICE, additional_creators=[CAROL])) == {BOB}
    assert creators(V12, create_event("12", BOB, additional_creators=[CAROL, 5])) == {BOB, CAROL}
    assert creators(V12, create_event("12", BOB, additional_creators="@x:y")) == {BOB}


def test_without_power_levels() -> None:
    """Without an event, the creator has 100 and everybody else 0; defaults ask 50 for state and moderation."""
    for version, create in (("9", create_event("9", creator=ALICE)), ("11", create_event("11"))):
        power = levels(version, None, create)
        assert (power.of_user(ALICE), power.of_user(BOB)) == (100, 0)
        assert (power.for_event("m.room.topic", True), power.for_event("m.room.message", False)) == (50, 0)
        actions: tuple[Action, ...] = ("ban", "kick", "invite", "redact")
        assert [power.for_action(action) for action in actions] == [50, 50, 0, 50]
        assert power.for_notification("room") == 50
    assert levels("11", None).of_user(ALICE) == 0


def test_with_power_levels() -> None:
    """With an event, the creator has no power but by it."""
    content = {
        "users": {BOB: 30},
        "users_default": 5,
        "events": {"m.room.topic": 20},
        "state_default": 60,
        "events_default": 7,
        "ban": 61,
        "notifications": {"room": 33},
    }
    power = levels("11", content, create_event("11"))
    assert [power.of_user(user) for user in (ALICE, BOB)] == [5, 30]
    assert power.for_event("m.room.topic", True) == power.for_event("m.room.topic", False) == 20
    assert (power.for_event("m.room.name", True), power.for_event("m.room.message", False)) == (60, 7)
    assert (power.for_action("ban"), power.for_action("kick")) == (61, 50)
    assert (power.for_notification("room"), power.for_notification("other")) == (33, 50)


def test_privileged_creators() -> None:
    """In version 12 creators stand above all levels, with and without an event."""
    create = create_event("12", additional_creators=[BOB])
    for content in (None, {"users": {CAROL: 2**53 - 1, ALICE: 0}}):
        power = levels("12", content, create)
        assert power.of_user(ALICE) == power.of_user(BOB) == math.inf
        assert power.of_user(CAROL) < math.inf
        assert power.of_user(DAVE) == 0


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
users = st.sampled_from([ALICE, "m.room.topic", "room"])
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(users, scalars, max_size=3)
names = st.sampled_from(["users", "events", "notifications", "users_default", "state_default", "ban", "events_default"])


@settings(max_examples=60)
@given(version=st.sampled_from(sorted(ROOM_VERSIONS)), content=st.dictionaries(names, anything, max_size=4))
def test_malformed_levels_read_as_defaults(version: str, content: dict[str, Any]) -> None:
    """Whatever the content, every question has a number for an answer."""
    power = levels(version, content, create_event(version, creator=ALICE))
    answers = [power.of_user(ALICE), power.for_event("m.room.topic", True), power.for_event("x", False)]
    answers += [power.for_action("ban"), power.for_notification("room")]
    assert all(isinstance(answer, int) or answer == math.inf for answer in answers)
