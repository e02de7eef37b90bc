"""What a room takes along when it is upgraded: power levels above all."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.canonical import canonical_json
from homeserver.domain.room_upgrade import carried_creation, carried_join_rules, carried_levels, closing_levels
from homeserver.domain.versions import V1, V7, V9, V11, V12

ALICE, BOB = "@alice:a.example", "@bob:b.example"

levels = st.one_of(
    st.integers(), st.floats(), st.text(max_size=5), st.integers().map(str), st.none(), st.booleans(), st.just([])
)
contents = st.dictionaries(
    st.sampled_from(["ban", "kick", "invite", "redact", "events_default", "state_default", "users_default", "other"]),
    levels,
).flatmap(
    lambda named: st.fixed_dictionaries(
        {},
        optional={
            "users": st.one_of(levels, st.dictionaries(st.sampled_from([ALICE, BOB, "nobody"]), levels)),
            "events": st.one_of(levels, st.dictionaries(st.text(max_size=3), levels)),
            "notifications": st.one_of(levels, st.dictionaries(st.just("room"), levels)),
        },
    ).map(lambda maps: {**named, **maps})
)


@given(contents)
def test_levels_become_what_every_version_takes(content: dict[str, Any]) -> None:
    """Whatever stood in a room of version 1: integers that canonical JSON can hold, and users who are users."""
    carried = carried_levels(content, V1, V12, {ALICE}, {ALICE})
    canonical_json(carried)
    assert ALICE not in carried["users"] and "nobody" not in carried["users"]
    assert all(type(level) is int for key, level in carried.items() if key not in ("users", "events", "notifications"))


def test_old_forms_of_levels_keep_their_meaning() -> None:
    """Texts and floats are numbers in old rooms."""
    content = {"ban": " 60 ", "kick": 50.9, "invite": "x", "users": {ALICE: "100", BOB: None}, "events": 7}
    carried = carried_levels(content, V1, V11, {ALICE}, {ALICE})
    assert carried == {"ban": 60, "kick": 50, "users": {ALICE: 100}}


def test_creators_with_all_power_become_administrators() -> None:
    """Where the new version has no such creators, or others; and they are never named where they have all power."""
    content = {"users": {BOB: 150}, "users_default": 1}
    assert carried_levels(content, V12, V11, {ALICE, BOB}, {ALICE})["users"] == {ALICE: 100, BOB: 150}
    assert carried_levels(content, V12, V12, {ALICE, BOB}, {ALICE})["users"] == {BOB: 150}
    assert carried_levels(content, V11, V12, {ALICE}, {ALICE})["users"] == {BOB: 150}


def test_the_room_that_is_left_is_closed() -> None:
    """ "the greater of 50 and users_default + 1", and what is higher stays."""
    assert closing_levels({}, V11) == {"events_default": 50, "invite": 50}
    assert closing_levels({"users_default": 70, "invite": 90}, V11) == {
        "users_default": 70, "invite": 90, "events_default": 71
    }  # fmt: skip
    assert closing_levels({"events_default": "60"}, V1) == {"events_default": "60", "invite": 50}


def test_what_is_carried_of_the_create_event() -> None:
    """Type and federation; additional creators where there are any."""
    content = {
        "type": "m.space",
        "m.federate": False,
        "creator": ALICE,
        "predecessor": {},
        "additional_creators": [BOB],
    }
    assert carried_creation(content, V11, [BOB]) == {"type": "m.space", "m.federate": False, "room_version": "11"}
    assert carried_creation({}, V12, [BOB, BOB]) == {"room_version": "12", "additional_creators": [BOB]}
    assert carried_creation({}, V12, []) == {"room_version": "12"}


def test_join_rules_are_never_opened() -> None:
    """What a version has no word for becomes stricter; what anybody made up stays."""
    restricted = {"join_rule": "restricted", "allow": []}
    assert carried_join_rules(restricted, V9) == restricted
    assert carried_join_rules(restricted, V7)["join_rule"] == "invite"
    assert carried_join_rules({"join_rule": "knock_restricted"}, V9)["join_rule"] == "restricted"
    assert carried_join_rules({"join_rule": "knock_restricted"}, V7)["join_rule"] == "knock"
    assert carried_join_rules({"join_rule": "knock_restricted"}, V1)["join_rule"] == "invite"
    assert carried_join_rules({"join_rule": "org.example"}, V1)["join_rule"] == "org.example"
