"""Push rules as JSON: the defaults, the merge with what is stored, and the changes that a user makes."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.default_push_rules import (
    KINDS,
    MASTER,
    MAX_PATTERN,
    RuleSet,
    default_rules,
    delete_rule,
    get_rule,
    merged_rules,
    put_rule,
    set_actions,
    set_enabled,
)
from homeserver.domain.errors import BadRequest, NotFound, RequestError, TooLarge

ALICE = "@alice:x"


def ids(ruleset: RuleSet, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in ruleset["global"][kind]]


def own(ruleset: RuleSet, kind: str) -> list[str]:
    return [rule_id for rule_id in ids(ruleset, kind) if not rule_id.startswith(".")]


def test_defaults_are_those_of_the_spec_in_its_order() -> None:
    """Version 1.19 has ten override and five underride rules, and only the master is off."""
    rules = default_rules(ALICE)
    assert ids(rules, "override") == [
        ".m.rule.master",
        ".m.rule.suppress_notices",
        ".m.rule.invite_for_me",
        ".m.rule.member_event",
        ".m.rule.is_user_mention",
        ".m.rule.is_room_mention",
        ".m.rule.tombstone",
        ".m.rule.reaction",
        ".m.rule.room.server_acl",
        ".m.rule.suppress_edits",
    ]
    assert ids(rules, "underride") == [
        ".m.rule.call",
        ".m.rule.encrypted_room_one_to_one",
        ".m.rule.room_one_to_one",
        ".m.rule.message",
        ".m.rule.encrypted",
    ]
    assert set(rules["global"]) == set(KINDS)
    every = [rule for kind in KINDS for rule in rules["global"][kind]]
    assert all(rule["default"] for rule in every)
    assert [rule["rule_id"] for rule in every if not rule["enabled"]] == [MASTER]


def test_a_default_as_the_spec_writes_it() -> None:
    """The mention rule has the user's id, the tweaks of the spec and an escaped path."""
    assert get_rule(default_rules(ALICE), "override", ".m.rule.is_user_mention") == {
        "rule_id": ".m.rule.is_user_mention",
        "default": True,
        "enabled": True,
        "conditions": [
            {"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": "@alice:x"}
        ],
        "actions": ["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}],
    }


def test_defaults_are_fresh_each_time() -> None:
    """Who writes into one user's rules does not write into another's."""
    default_rules(ALICE)["global"]["override"][0]["actions"].append("notify")
    assert default_rules(ALICE)["global"]["override"][0]["actions"] == []


def test_merge_keeps_the_users_part_and_renews_the_rest() -> None:
    """On/off, actions and own rules survive; conditions of defaults are today's; legacy defaults fall away."""
    stored = {
        "global": {
            "override": [
                {"rule_id": ".m.rule.contains_display_name", "default": True, "enabled": True, "actions": ["notify"]},
                {"rule_id": "mine", "default": False, "enabled": False, "conditions": [], "actions": []},
                {"rule_id": ".m.rule.reaction", "enabled": False, "conditions": [], "actions": ["notify"]},
                {"rule_id": ".m.rule.tombstone", "enabled": "no", "actions": None},
                "no rule",
                {"rule_id": 3},
            ],
            "room": "no list",
        }
    }
    merged = merged_rules(stored, ALICE)
    fresh = default_rules(ALICE)
    assert ids(merged, "override") == [MASTER, "mine", *ids(fresh, "override")[1:]]
    reaction = get_rule(merged, "override", ".m.rule.reaction")
    assert reaction == {**get_rule(fresh, "override", ".m.rule.reaction"), "enabled": False, "actions": ["notify"]}
    assert get_rule(merged, "override", ".m.rule.tombstone") == get_rule(fresh, "override", ".m.rule.tombstone")
    assert merged["global"]["room"] == [] and merged["global"]["underride"] == fresh["global"]["underride"]


@pytest.mark.parametrize("stored", [None, {}, {"global": None}, {"global": {"override": {}}}, {"device": {}}])
def test_merge_of_nothing_is_the_defaults(stored: RuleSet | None) -> None:
    """A user without, or with broken, stored rules has the defaults."""
    assert merged_rules(stored, ALICE) == default_rules(ALICE)


def test_new_rules_stand_above_the_others_of_the_user_and_below_the_master() -> None:
    """The newest is the most important, before and after place it, and replacing keeps the place and the switch."""
    rules = default_rules(ALICE)
    for name in ("one", "two"):
        rules = put_rule(rules, "override", name, ["notify"])
    assert ids(rules, "override")[:4] == [MASTER, "two", "one", ".m.rule.suppress_notices"]
    rules = put_rule(rules, "override", "three", [], before="one")
    assert own(rules, "override") == ["two", "three", "one"]
    rules = put_rule(rules, "override", "four", [], after="one")
    assert own(rules, "override") == ["two", "three", "one", "four"]
    assert ids(rules, "override").index("four") < ids(rules, "override").index(".m.rule.suppress_notices")
    rules = put_rule(set_enabled(rules, "override", "three", False), "override", "three", ["notify"])
    assert own(rules, "override") == ["two", "three", "one", "four"]
    assert get_rule(rules, "override", "three") == {
        "rule_id": "three",
        "default": False,
        "enabled": False,
        "conditions": [],
        "actions": ["notify"],
    }
    rules = put_rule(rules, "override", "four", [], before="two", after="one")
    assert own(rules, "override") == ["four", "two", "three", "one"]


def test_each_kind_keeps_what_belongs_to_it() -> None:
    """Content rules have a pattern, room and sender rules neither pattern nor conditions."""
    rules = put_rule(default_rules(ALICE), "content", "cake", ["notify"], conditions=[{}], pattern="cake*lie")
    rules = put_rule(rules, "room", "!r:x", [], conditions=[{}], pattern=7)
    assert get_rule(rules, "content", "cake") == {
        "rule_id": "cake",
        "default": False,
        "enabled": True,
        "pattern": "cake*lie",
        "actions": ["notify"],
    }
    assert get_rule(rules, "room", "!r:x") == {"rule_id": "!r:x", "default": False, "enabled": True, "actions": []}


def test_historical_actions_are_stripped() -> None:
    """dont_notify and coalesce are no actions any more."""
    rules = put_rule(default_rules(ALICE), "sender", "@bob:x", ["dont_notify", "coalesce", {"set_tweak": "sound"}])
    assert get_rule(rules, "sender", "@bob:x")["actions"] == [{"set_tweak": "sound"}]


def test_conditions_that_only_clients_know_are_kept() -> None:
    """An unknown kind of condition is stored as it is."""
    conditions = [{"kind": "org.example.moon", "phase": "full"}]
    rules = put_rule(default_rules(ALICE), "underride", "moon", [], conditions=conditions)
    assert get_rule(rules, "underride", "moon")["conditions"] == conditions


def test_defaults_can_be_switched_and_changed_but_not_deleted() -> None:
    """A default rule stays, off or with other actions."""
    rules = set_enabled(default_rules(ALICE), "override", MASTER, True)
    assert get_rule(rules, "override", MASTER)["enabled"] is True
    rules = set_actions(rules, "underride", ".m.rule.message", ["dont_notify"])
    assert get_rule(rules, "underride", ".m.rule.message")["actions"] == []
    with pytest.raises(BadRequest):
        delete_rule(rules, "underride", ".m.rule.message")


def put(rule_id: str = "r", kind: str = "override", **more: Any) -> RuleSet:
    return put_rule(default_rules(ALICE), kind, rule_id, **{"actions": ["notify"], **more})


@pytest.mark.parametrize("rule_id", ["", ".mine", ".m.rule.master", "a/b", "a\\b"])
def test_forbidden_rule_ids(rule_id: str) -> None:
    """Ids of the user's rules leave the dot to the server and have no slashes."""
    with pytest.raises(BadRequest):
        put(rule_id)


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"kind": "overide"}, "M_INVALID_PARAM"),
        ({"actions": None}, "M_MISSING_PARAM"),
        ({"actions": "notify"}, "M_BAD_JSON"),
        ({"actions": ["shout"]}, "M_INVALID_PARAM"),
        ({"actions": [{"tweak": "sound"}]}, "M_INVALID_PARAM"),
        ({"actions": [None]}, "M_INVALID_PARAM"),
        ({"conditions": {}}, "M_BAD_JSON"),
        ({"conditions": ["event_match"]}, "M_BAD_JSON"),
        ({"conditions": [{"kind": "event_match", "key": "type"}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "event_match", "key": "type", "pattern": 3}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "event_property_is", "key": "a", "value": 1.5}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "event_property_is", "key": "a"}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "event_property_contains", "key": "a", "value": []}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "room_member_count", "is": "=2"}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "room_member_count", "is": "9" * 5000}]}, "M_INVALID_PARAM"),
        ({"conditions": [{"kind": "room_member_count", "is": 2}]}, "M_INVALID_PARAM"),
        ({"kind": "content"}, "M_MISSING_PARAM"),
        ({"kind": "content", "pattern": ["cake"]}, "M_BAD_JSON"),
        ({"kind": "content", "pattern": "c" * (MAX_PATTERN + 1)}, "M_INVALID_PARAM"),
        ({"before": "nobody"}, "M_UNKNOWN"),
        ({"after": "nobody"}, "M_UNKNOWN"),
        ({"before": ".m.rule.suppress_notices"}, "M_UNKNOWN"),
        ({"after": MASTER}, "M_UNKNOWN"),
        ({"before": "r"}, "M_UNKNOWN"),
    ],
)
def test_malformed_rules_are_refused(change: dict[str, Any], errcode: str) -> None:
    """Each mistake is a 400 with its code, and a well-formed rule beside it passes."""
    put()
    with pytest.raises(BadRequest) as refused:
        put(**change)
    assert refused.value.errcode == errcode


def test_what_is_not_there_is_not_found() -> None:
    """Reading, deleting and changing a rule that does not exist is a 404; a wrong kind or value is a 400."""
    rules = default_rules(ALICE)
    attempts: list[Callable[[], object]] = [
        lambda: get_rule(rules, "override", "none"),
        lambda: delete_rule(rules, "override", "none"),
        lambda: set_enabled(rules, "room", "none", True),
        lambda: set_actions(rules, "sender", "none", []),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    with pytest.raises(BadRequest):
        get_rule(rules, "overide", MASTER)
    with pytest.raises(BadRequest):
        set_enabled(rules, "override", MASTER, "true")


def test_rules_are_bounded() -> None:
    """One rule, and all rules of a user together, have a largest size."""
    with pytest.raises(TooLarge):
        put(conditions=[{"kind": "event_match", "key": "type", "pattern": "a" * 200}] * 50)
    with pytest.raises(TooLarge):
        set_actions(default_rules(ALICE), "override", MASTER, [{"set_tweak": "sound", "value": "a" * 9000}])
    crowd = [{"rule_id": f"!{number}:x", "default": False, "enabled": True, "actions": []} for number in range(7000)]
    rules = default_rules(ALICE)
    full = {"global": {**rules["global"], "room": crowd}}
    with pytest.raises(TooLarge):
        put_rule(full, "room", "!one:x", [])
    assert own(delete_rule(full, "room", "!0:x"), "room")[0] == "!1:x", "there is a way back"


NAMES = st.sampled_from(["a", "b", "c", "d"])
PLACES = st.none() | NAMES | st.just(MASTER)
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KINDS), NAMES, PLACES, PLACES),
    st.tuples(st.just("delete"), st.sampled_from(KINDS), NAMES | st.just(".m.rule.message")),
    st.tuples(st.just("enable"), st.sampled_from(KINDS), NAMES | st.just(".m.rule.message"), st.booleans()),
    st.tuples(st.just("act"), st.sampled_from(KINDS), NAMES | st.just(MASTER)),
)


def apply(rules: RuleSet, operation: tuple[Any, ...]) -> RuleSet:
    match operation:
        case ("put", kind, name, before, after):
            return put_rule(rules, kind, name, ["notify"], [], "cake", before, after)
        case ("delete", kind, name):
            return delete_rule(rules, kind, name)
        case ("enable", kind, name, enabled):
            return set_enabled(rules, kind, name, enabled)
        case _:
            return set_actions(rules, operation[1], operation[2], ["dont_notify"])


@given(st.lists(OPERATIONS, max_size=25))
@settings(max_examples=150)
def test_any_history_of_changes_keeps_the_shape(operations: list[tuple[Any, ...]]) -> None:
    """Ids stay unique, defaults stay complete and in order around the user's rules, what is refused changes nothing,
    a placed rule stands next to its neighbour, and the merge of what is stored changes nothing."""
    rules = default_rules(ALICE)
    fresh = default_rules(ALICE)
    for operation in operations:
        before = repr(rules)
        try:
            changed = apply(rules, operation)
        except RequestError:
            assert repr(rules) == before
            continue
        assert repr(rules) == before, "changes are new values"
        rules = changed
        if operation[0] == "put":
            order = ids(rules, operation[1])
            place = order.index(operation[2])
            if operation[3] is not None:
                assert order[place + 1] == operation[3]
            elif operation[4] is not None:
                assert order[place - 1] == operation[4]
        for kind in KINDS:
            found, mine = ids(rules, kind), own(rules, kind)
            assert len(set(found)) == len(found)
            above = 1 if kind == "override" else 0
            defaults = ids(fresh, kind)
            assert found == [*defaults[:above], *mine, *defaults[above:]]
    assert merged_rules(rules, ALICE) == rules
