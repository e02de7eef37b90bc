"""Rules as they are in one room, and those of another user of the same class."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.default_push_rules import KINDS, RuleSet, default_rules, merged_rules, put_rule
from homeserver.domain.push_conditions import EventView
from homeserver.domain.push_rules import compile_rules, rules_class
from homeserver.domain.room_rules import rules_by_room, rules_of_another

ALICE, BOB, CAROL = "@alice:a.org", "@bob:a.org", "@carol:a.org"
ROOMS = ("!one:a.org", "!two:a.org", "!three:a.org")


@dataclass(frozen=True)
class AnEvent:
    room_id: str
    sender: str
    content: Mapping[str, Any] = field(default_factory=dict)
    type: str = "m.room.message"
    state_key: str | None = None


def conditions(user_id: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    names = st.sampled_from((user_id, CAROL))
    return st.lists(
        st.one_of(
            st.sampled_from(ROOMS).map(lambda room: {"kind": "event_match", "key": "room_id", "pattern": room}),
            st.sampled_from(ROOMS).map(lambda room: {"kind": "event_property_is", "key": "room_id", "value": room}),
            names.map(lambda name: {"kind": "event_match", "key": "sender", "pattern": name}),
            names.map(lambda name: {"kind": "event_match", "key": "content.body", "pattern": name}),
            names.map(
                lambda name: {"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": name}
            ),
            st.just({"kind": "unknown", "key": ["x"]}),
        ),
        max_size=3,
    )


@st.composite
def rulesets(draw: st.DrawFn, user_id: str = ALICE) -> RuleSet:
    """Rules of the user that speak of rooms and of users, on top of the defaults."""
    stored: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    actions = st.sampled_from(([], ["notify"], ["notify", {"set_tweak": "highlight"}]))
    for kind in KINDS:
        for number in range(draw(st.integers(0, 3))):
            rule: dict[str, Any] = {"rule_id": f"r{number}", "default": False, "enabled": draw(st.booleans())}
            rule["actions"] = draw(actions)
            if kind in ("override", "underride"):
                rule["conditions"] = draw(conditions(user_id))
            elif kind == "content":
                rule["pattern"] = draw(st.sampled_from(("hello", user_id, CAROL)))
            elif kind == "room":
                rule["rule_id"] = ROOMS[number]
            else:
                rule["rule_id"] = (user_id, CAROL, BOB)[number]
            stored[kind].append(rule)
    return merged_rules({"global": stored}, user_id)


EVENTS = st.builds(
    AnEvent,
    room_id=st.sampled_from(ROOMS),
    sender=st.sampled_from((CAROL, BOB)),
    content=st.fixed_dictionaries(
        {"body": st.sampled_from(("hello", f"hello {ALICE}", CAROL, "nothing"))},
        optional={"m.mentions": st.just({"user_ids": [ALICE]})},
    ),
)


def outcome(ruleset: RuleSet, user_id: str, event: AnEvent) -> tuple[bool, bool]:
    decided = compile_rules(ruleset, user_id).evaluate(EventView(event), 3, 0, lambda key: 50, None)
    return decided.notify, decided.highlight


@settings(max_examples=150)
@given(rulesets(), EVENTS)
def test_rules_in_a_room_decide_as_before_and_are_of_the_same_class(ruleset: RuleSet, event: AnEvent) -> None:
    """What is stored for a class in a room decides every event of that room as the whole ruleset does."""
    common, by_room = rules_by_room(ruleset)
    reduced = by_room.get(event.room_id, common)

    assert outcome(reduced, ALICE, event) == outcome(ruleset, ALICE, event)
    assert rules_class(reduced, ALICE) == rules_class(ruleset, ALICE, event.room_id)
    assert rules_class(reduced, ALICE, ROOMS[0]) == rules_class(reduced, ALICE, ROOMS[1])


@settings(max_examples=100)
@given(rulesets(), EVENTS)
def test_rules_of_no_room_in_particular_ignore_rules_about_rooms(ruleset: RuleSet, event: AnEvent) -> None:
    """The class of all rooms that are not singled out knows nothing of those that are."""
    reduced, _ = rules_by_room(ruleset)
    elsewhere = AnEvent("!else:a.org", event.sender, event.content)

    assert outcome(reduced, ALICE, event) == outcome(ruleset, ALICE, elsewhere)
    assert rules_class(reduced, ALICE) == rules_class(ruleset, ALICE)


@settings(max_examples=100)
@given(rulesets(), EVENTS)
def test_rules_of_another_say_of_them_what_they_said_of_the_owner(ruleset: RuleSet, event: AnEvent) -> None:
    """Who is mentioned is exchanged, what is written in texts is not; the class stays."""
    theirs = rules_of_another(ruleset, ALICE, "@dora:a.org")
    mentions = event.content.get("m.mentions")
    content = {**event.content, "m.mentions": {"user_ids": ["@dora:a.org"]}} if mentions else event.content

    assert outcome(theirs, "@dora:a.org", AnEvent(event.room_id, event.sender, content)) == outcome(
        ruleset, ALICE, event
    )
    for room in (None, *ROOMS):
        assert rules_class(theirs, "@dora:a.org", room) == rules_class(ruleset, ALICE, room)


def test_default_rules_of_another_are_their_default_rules() -> None:
    """Nothing but the id differs between the rules of two users who changed nothing."""
    assert rules_of_another(default_rules(ALICE), ALICE, BOB) == default_rules(BOB)


def test_many_muted_rooms_are_one_ruleset() -> None:
    """Rooms of which the same is said share a value; one of which something else is said has its own."""
    rules: RuleSet = default_rules(ALICE)
    for number in range(50):
        rules = put_rule(rules, "room", f"!{number}:a.org", [])
    rules = put_rule(
        rules, "override", "loud", ["notify"], [{"kind": "event_match", "key": "room_id", "pattern": "!x"}]
    )
    _, by_room = rules_by_room(rules)

    assert len(by_room) == 51
    assert len({id(ruleset) for ruleset in by_room.values()}) == 2
