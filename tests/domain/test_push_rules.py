"""Push rules as judges: globs against an oracle, each condition, priorities, classes, and hostile input."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.default_push_rules import (
    MASTER,
    MAX_PATTERN,
    RuleSet,
    default_rules,
    put_rule,
    set_actions,
    set_enabled,
)
from homeserver.domain.push_conditions import MAX_WORK, EventView, Run, fold, glob_regex
from homeserver.domain.push_rules import (
    MAX_NAMED,
    SILENT,
    Outcome,
    compile_rules,
    named_users,
    read_rules,
    rules_class,
)
from homeserver.domain.room_rules import rules_by_room

ALICE, BOB, CAROL, ROOM = "@alice:x", "@bob:x", "@carol:x", "!room:x"
EMPTY: RuleSet = {"global": {}}


@dataclass(frozen=True)
class FakeEvent:
    """An event as far as rules can see it."""

    type: str = "m.room.message"
    sender: str = BOB
    room_id: str = ROOM
    state_key: str | None = None
    content: dict[str, Any] = field(default_factory=lambda: {"msgtype": "m.text", "body": "hello"})


def says(body: Any, **more: Any) -> FakeEvent:
    return FakeEvent(content={"msgtype": "m.text", "body": body, **more})


def judge(
    rules: RuleSet,
    event: FakeEvent,
    members: int = 10,
    power: float = 0,
    level: Callable[[str], int] = lambda key: 50,
    display_name: str | None = None,
    user: str = ALICE,
) -> Outcome:
    return compile_rules(rules, user).evaluate(EventView(event), members, power, level, display_name)


def condition_holds(condition: dict[str, Any], event: FakeEvent, **more: Any) -> bool:
    rule = {"rule_id": "r", "enabled": True, "conditions": [condition], "actions": ["notify"]}
    return judge({"global": {"underride": [rule]}}, event, **more).notify


# --- globs


def glob_oracle(pattern: str, text: str) -> bool:
    """Whether the glob is the text, by trying everything."""
    reachable = {0}
    for character in pattern:
        if character == "*":
            reachable = set(range(min(reachable), len(text) + 1)) if reachable else set()
        else:
            reachable = {place + 1 for place in reachable if place < len(text) and character in ("?", text[place])}
    return len(text) in reachable


def words_oracle(pattern: str, text: str) -> bool:
    """Whether the glob is some part of the text between word boundaries, by trying all parts."""
    outside = [" ", *text, " "]
    starts = [place for place in range(len(text) + 1) if not re.match("[A-Za-z0-9_]", outside[place])]
    ends = [place for place in range(len(text) + 1) if not re.match("[A-Za-z0-9_]", outside[place + 1])]
    return any(glob_oracle(pattern, text[start:end]) for start in starts for end in ends if start <= end)


@given(st.text("ab*? .", max_size=8), st.text("ab .\n", max_size=12))
@settings(max_examples=500)
def test_globs_equal_the_oracles(pattern: str, text: str) -> None:
    """Looking for each piece only at its leftmost place finds what trying everything finds."""
    assert (glob_regex(pattern, False).match(text) is not None) == glob_oracle(pattern, text)
    assert (glob_regex(pattern, True).match(text) is not None) == words_oracle(pattern, text)


@given(st.text("ab*?_-é", max_size=6), st.text("ABab_-é \n", max_size=10))
@settings(max_examples=300)
def test_conditions_match_as_the_oracles(pattern: str, text: str) -> None:
    """Through the whole way from JSON, event_match ignores case and treats only content.body as words."""
    wanted, found = pattern.lower(), text.lower()
    topic = FakeEvent(content={"topic": text, "body": text})
    match = {"kind": "event_match", "pattern": pattern}
    assert condition_holds({**match, "key": "content.topic"}, topic) == glob_oracle(wanted, found)
    assert condition_holds({**match, "key": "content.body"}, topic) == words_oracle(wanted, found)


def test_folding_keeps_every_length() -> None:
    """Every character folds to one character, so that a question mark counts right; forms of sigma are one letter."""
    text = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    assert len(fold(text)) == len(text)
    assert fold("ΟΔΟΣ!") == fold("οδος!") == fold("οδοσ!")
    assert fold("İstanbul") == "istanbul"


@pytest.mark.parametrize("words", [False, True])
def test_stars_never_backtrack(words: bool) -> None:
    """Every star but the last one stands in an atomic group: the number of stars cannot multiply the work."""
    source = glob_regex("a*b?*c*d*", words).pattern
    without_boundaries = source.replace("(?<![a-z0-9_])", "").replace("(?![a-z0-9_])", "")
    assert re.sub(r"\(\?>[^()]*\)", "", without_boundaries) == ("" if words else r"a.*\Z")


HOSTILE = [
    ("*a" * 100 + "*b", "a" * 60_000),
    ("a*" * 120 + "b", "a " * 30_000),
    ("?*" * 120 + "b", "a" * 60_000),
    ("*" * 250, "a" * 60_000),
    ("a?" * 100 + "b", "a" * 60_000 + "b" * 120),
    ("*" + "a" * 200 + "?b*", "a" * 59_000 + "b"),
    ("?" * 255 + "b", "a" * 60_000 + "b"),
]


@pytest.mark.parametrize(("pattern", "body"), HOSTILE)
def test_pathological_globs_on_long_bodies_end(pattern: str, body: str) -> None:
    """Attack 21: a hundred stars on 60 KB, whose backtracking would never end, in bodies and elsewhere."""
    event = says(body, topic=body)
    for key in ("content.body", "content.topic"):
        expected = glob_oracle(pattern, body) if key == "content.topic" and "*" not in pattern else None
        found = condition_holds({"kind": "event_match", "key": key, "pattern": pattern}, event)
        assert expected is None or found == expected


def test_many_hostile_rules_share_one_allowance() -> None:
    """However many patterns a user has, an evaluation stops searching when its work is spent, and goes on judging."""
    rules = default_rules(ALICE)
    for number in range(100):
        rules = put_rule(rules, "content", f"k{number}", [], pattern=f"{'a?' * 100}{number}")
    rules = put_rule(rules, "content", "last", ["notify", {"set_tweak": "highlight"}], pattern="0", after="k0")
    body = says("a" * 60_000 + " ".join(map(str, range(101, 200))) + " 0")
    assert judge(rules, body) == judge(default_rules(ALICE), body), "the last keyword was not looked for"
    assert judge(rules, says("a 0")).highlight


def test_long_lists_spend_the_allowance_too() -> None:
    """Thousands of rules that look into a list of thousands stop like patterns do."""
    contains = {"kind": "event_property_contains", "key": "content.list", "value": 2}
    quiet = [
        {"rule_id": str(number), "enabled": True, "conditions": [contains] * 2, "actions": []} for number in range(3000)
    ]
    loud = {"rule_id": "loud", "enabled": True, "conditions": [{**contains, "value": 1}], "actions": ["notify"]}
    rules = {"global": {"override": [*quiet, loud], "underride": default_rules(ALICE)["global"]["underride"]}}
    assert judge({"global": {"override": [loud]}}, FakeEvent("x", content={"list": [1] * 20_000})).notify
    assert not judge(rules, FakeEvent("x", content={"list": [1] * 20_000})).notify
    assert judge(rules, FakeEvent(content={"list": [1] * 20_000})).notify, "what costs nothing is still asked"


def test_work_is_counted() -> None:
    """The allowance is one number for the whole evaluation, and the last search may exceed it."""
    run = Run(EventView(FakeEvent()), 1, 0, lambda key: 0, None)
    assert run.afford(MAX_WORK - 1) and run.afford(60_000) and not run.afford(1)


# --- conditions


def test_event_match_examples_of_the_spec() -> None:
    """The spec's own examples of whole values and of words."""
    lunch = {"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"}
    for topic, expected in (("Lunch plans", True), ("LUNCH", True), (" lunch", False), ("lunc", False), (None, False)):
        assert condition_holds(lunch, FakeEvent("m.room.topic", content={"topic": topic})) is expected
    example = {"kind": "event_match", "key": "content.body", "pattern": "ex*ple"}
    for body, expected in (("An example event.", True), ("exple", True), ("An exciting triple-whammy", True)):
        assert condition_holds(example, says(body)) is expected
    assert not condition_holds(example, says("examples"))
    assert not condition_holds(example, FakeEvent(content={}))
    assert not condition_holds({**example, "pattern": "*"}, says(7))


def test_event_match_reaches_the_fields_of_the_event() -> None:
    """type, sender, room_id and state_key can be asked; a message has no state key, and nothing else is there."""
    topic = FakeEvent("m.room.topic", state_key="", content={})
    for key, pattern in (("type", "m.room.t*"), ("sender", BOB), ("room_id", ROOM), ("room_id", "*:x")):
        assert condition_holds({"kind": "event_match", "key": key, "pattern": pattern}, topic)
        assert not condition_holds({"kind": "event_match", "key": key, "pattern": "other"}, topic)
    no_key = {"kind": "event_match", "key": "state_key", "pattern": ""}
    assert condition_holds(no_key, topic)
    assert not condition_holds(no_key, FakeEvent())
    for key in ("pdu", "event_id", "type.x", "content", "__class__", ""):
        assert not condition_holds({"kind": "event_match", "key": key, "pattern": "*"}, topic)


def test_event_property_is_does_not_cast() -> None:
    """Values are equal only with their types; null is a value and absence is none."""
    for value, other in ((True, 1), (1, True), (0, False), (None, False), ("1", 1)):
        condition = {"kind": "event_property_is", "key": r"content.m\.federate", "value": value}
        assert condition_holds(condition, FakeEvent(content={"m.federate": value}))
        assert not condition_holds(condition, FakeEvent(content={"m.federate": other}))
        assert not condition_holds(condition, FakeEvent(content={}))
        assert not condition_holds(condition, FakeEvent(content={"m": {"federate": value}}))
        assert not condition_holds(condition, FakeEvent(content={"m.federate": [value]}))


def test_event_property_contains_looks_for_the_exact_value() -> None:
    """An element has to be equal, with its type; what is no list contains nothing."""
    condition = {"kind": "event_property_contains", "key": "content.list", "value": 1}
    for found, expected in (([0, 1], True), ([True], False), ([[1]], False), ({"1": 1}, False), ("1", False)):
        assert condition_holds(condition, FakeEvent(content={"list": found})) is expected


@pytest.mark.parametrize(
    ("comparison", "counts"),
    [("2", {2}), ("==2", {2}), ("<2", {1}), (">2", {3}), ("<=2", {1, 2}), (">=2", {2, 3}), ("=2", set()), ("x", set())],
)
def test_room_member_count(comparison: str, counts: set[int]) -> None:
    """Every prefix of the spec, and nothing for what is no comparison."""
    condition = {"kind": "room_member_count", "is": comparison}
    assert {n for n in (1, 2, 3) if condition_holds(condition, FakeEvent(), members=n)} == counts


def test_sender_notification_permission() -> None:
    """The sender needs the level of the key that the condition names."""
    condition = {"kind": "sender_notification_permission", "key": "room"}
    levels = {"room": 20}
    assert condition_holds(condition, FakeEvent(), power=20, level=levels.__getitem__)
    assert not condition_holds(condition, FakeEvent(), power=19, level=levels.__getitem__)
    assert condition_holds(condition, FakeEvent(), power=float("inf"), level=levels.__getitem__)


def test_contains_display_name() -> None:
    """The name is looked for as words, without case, and is no glob."""
    condition = {"kind": "contains_display_name"}
    assert condition_holds(condition, says("hi ALICE B!"), display_name="Alice b")
    assert not condition_holds(condition, says("malice"), display_name="Alice")
    assert condition_holds(condition, says("what is a*c?"), display_name="a*c")
    assert not condition_holds(condition, says("abc"), display_name="a*c")
    assert not condition_holds(condition, says("anything"), display_name="")
    assert not condition_holds(condition, says("anything"), display_name=None)
    assert not condition_holds(condition, FakeEvent(content={}), display_name="Alice")


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "org.example.moon"},
        {"kind": None},
        {},
        "event_match",
        {"kind": "event_match", "key": "type"},
        {"kind": "event_match", "key": "type", "pattern": "*" * (MAX_PATTERN + 1)},
        {"kind": "event_property_is", "key": "type", "value": 1.0},
    ],
)
def test_unknown_and_malformed_conditions_match_nothing(condition: Any) -> None:
    """A rule that is not understood is as if it were off."""
    assert not condition_holds(condition, FakeEvent())


# --- rules


def test_what_the_defaults_say() -> None:
    """Messages notify, one-to-one ones with a sound, and the quiet kinds do not."""
    rules = default_rules(ALICE)
    default_sound = {"sound": "default"}
    assert judge(rules, FakeEvent()) == Outcome(True)
    assert judge(rules, FakeEvent(), members=2) == Outcome(True, sound="default", tweaks=default_sound)
    assert judge(rules, FakeEvent("m.room.encrypted"), members=2).sound == "default"
    assert judge(rules, FakeEvent("m.room.encrypted")) == Outcome(True)
    assert judge(rules, FakeEvent("m.call.invite")).sound == "ring"
    quiet = [
        FakeEvent(content={"msgtype": "m.notice", "body": "b"}),
        FakeEvent("m.reaction"),
        FakeEvent("m.room.topic", state_key=""),
        FakeEvent("m.room.server_acl", state_key=""),
        FakeEvent("m.room.member", state_key=BOB, content={"membership": "join"}),
        FakeEvent("m.room.member", state_key=CAROL, content={"membership": "invite"}),
        says("* new", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}}),
        FakeEvent(sender=ALICE),
    ]
    assert [judge(rules, event) for event in quiet] == [SILENT] * len(quiet)


def test_mentions_invites_and_tombstones_are_loud() -> None:
    """Being named, invited or moved is highlighted or sounded; @room needs the power for it."""
    rules = default_rules(ALICE)
    mention = judge(rules, says("hey", **{"m.mentions": {"user_ids": [BOB, ALICE]}}))
    assert (mention.notify, mention.highlight, mention.sound) == (True, True, "default")
    assert mention.tweaks == {"sound": "default", "highlight": True}
    room = says("all", **{"m.mentions": {"room": True}})
    assert judge(rules, room, power=50).highlight and not judge(rules, room, power=49).highlight
    invite = FakeEvent("m.room.member", state_key=ALICE, content={"membership": "invite"})
    assert judge(rules, invite).sound == "default"
    assert judge(rules, FakeEvent("m.room.tombstone", state_key="")).highlight
    assert not judge(rules, FakeEvent("m.room.tombstone")).notify


def test_kinds_are_asked_in_their_order() -> None:
    """override, content, room, sender, underride: the first that matches decides alone."""
    rules = default_rules(ALICE)
    event = says("tea time")
    sounds = []
    for kind, rule_id in (("underride", "u"), ("sender", BOB), ("room", ROOM), ("content", "tea"), ("override", "o")):
        action = {"set_tweak": "sound", "value": kind}
        rules = put_rule(rules, kind, rule_id, ["notify", action], [], "tea")
        sounds.append(judge(rules, event).sound)
    assert sounds == ["underride", "sender", "room", "content", "override"]
    assert judge(set_enabled(rules, "override", "o", False), event).sound == "content"
    assert judge(set_enabled(rules, "override", MASTER, True), event) == SILENT
    other = FakeEvent(sender=CAROL, room_id="!other:x")
    assert judge(set_enabled(rules, "override", "o", False), other).sound == "underride"


def test_the_master_is_first_wherever_it_is_stored() -> None:
    """Rules that another server or an older version wrote with the master elsewhere obey it all the same."""
    master = {"rule_id": MASTER, "enabled": True, "conditions": [], "actions": []}
    loud = {"rule_id": "loud", "enabled": True, "conditions": [], "actions": ["notify"]}
    assert judge({"global": {"override": [loud, master]}}, FakeEvent()) == SILENT


def test_actions() -> None:
    """Tweaks pass to the gateway as they are; a highlight without a value is true; without notify there is nothing."""
    rules = default_rules(ALICE)
    for actions, expected in (
        (["notify", {"set_tweak": "highlight", "value": False}], Outcome(True, tweaks={"highlight": False})),
        (["notify", {"set_tweak": "highlight"}], Outcome(True, True, tweaks={"highlight": True})),
        (["notify", {"set_tweak": "sound", "value": 3}], Outcome(True, tweaks={"sound": 3})),
        (["notify", {"set_tweak": "flash", "value": "red"}], Outcome(True, tweaks={"flash": "red"})),
        ([{"set_tweak": "highlight"}], SILENT),
        (["dont_notify"], SILENT),
        (["coalesce"], SILENT),
        ([], SILENT),
    ):
        assert judge(set_actions(rules, "underride", ".m.rule.message", actions), FakeEvent()) == expected
    stored = {"rule_id": "r", "enabled": True, "conditions": [], "actions": ["dont_notify", 7, {"set_tweak": 1}]}
    assert judge({"global": {"override": [stored]}}, FakeEvent()) == SILENT


def test_broken_rulesets_are_silent() -> None:
    """Stored JSON that is no ruleset, or rules that are none, judge nothing and raise nothing."""
    rulesets: list[RuleSet] = [
        {},
        {"global": []},
        {"global": {"override": [None, {}, {"rule_id": "a", "conditions": 7, "actions": ["notify"]}]}},
        {"global": {"content": [{"rule_id": "a", "actions": ["notify"]}]}},
        {"global": {"underride": [{"rule_id": "a", "conditions": [], "actions": "notify"}]}},
    ]
    for broken in rulesets:
        assert judge(broken, FakeEvent()) == SILENT


# --- classes


def muted(rules: RuleSet, room: str = ROOM) -> RuleSet:
    return put_rule(rules, "room", room, [])


def test_users_with_the_defaults_share_a_class() -> None:
    """The own id, names of rules, rules that are off and stripped actions make no difference."""
    alice = default_rules(ALICE)
    common = rules_class(alice, ALICE)
    assert re.fullmatch("[0-9a-f]{32}", common)
    assert rules_class(default_rules(BOB), BOB) == common
    off = set_enabled(put_rule(alice, "override", "x", ["notify"]), "override", "x", False)
    assert rules_class(off, ALICE) == common
    assert rules_class(put_rule(alice, "sender", ALICE, ["notify"]), ALICE) != common
    assert rules_class(put_rule(alice, "content", "cake", ["notify"], pattern="cake"), ALICE) != common
    assert rules_class(alice, BOB) != common, "rules with somebody else's id are other rules"


def test_rooms_that_a_user_singled_out_are_other_classes_only_there() -> None:
    """Muting a room changes the class in it and nowhere else, however it was muted."""
    alice, bob = default_rules(ALICE), muted(default_rules(BOB))
    other_way = put_rule(
        default_rules(CAROL), "override", "m", [], [{"kind": "event_match", "key": "room_id", "pattern": ROOM}]
    )
    assert [set(rules_by_room(rules)[1]) for rules in (alice, bob, other_way)] == [set(), {ROOM}, {ROOM}]
    assert rules_class(bob, BOB) == rules_class(alice, ALICE) == rules_class(other_way, CAROL)
    assert rules_class(bob, BOB, "!other:x") == rules_class(alice, ALICE, "!other:x")
    assert rules_class(bob, BOB, ROOM) != rules_class(alice, ALICE, ROOM)
    assert rules_class(other_way, CAROL, ROOM) == rules_class(set_enabled(alice, "override", MASTER, True), ALICE), (
        "silence is silence"
    )


def test_room_ids_differ_by_case() -> None:
    """A rule about one room is about that room alone, also as a condition."""
    rules = put_rule(
        default_rules(ALICE), "override", "m", [], [{"kind": "event_match", "key": "room_id", "pattern": ROOM}]
    )
    assert not judge(rules, FakeEvent()).notify
    assert judge(rules, FakeEvent(room_id=ROOM.upper())).notify


def test_display_name_rules_belong_to_their_user() -> None:
    """Who has such a rule is in a class alone, and the class says that it cannot judge."""
    rules = {
        u: put_rule(default_rules(u), "override", "d", [], [{"kind": "contains_display_name"}]) for u in (ALICE, BOB)
    }
    assert rules_class(rules[ALICE], ALICE) != rules_class(rules[BOB], BOB)
    assert compile_rules(rules[ALICE], ALICE).asks_display_name
    assert not compile_rules(default_rules(ALICE), ALICE).asks_display_name


def test_named_users() -> None:
    """Mentions and the user of a state event are named, if they are users; there is a most."""
    assert named_users(FakeEvent()) == frozenset()
    mentions = {"user_ids": [ALICE, BOB, ALICE, "alice", "@nobody", 7, None, "@" + "a" * 300 + ":x", "@a\0:x"]}
    assert named_users(says("hi", **{"m.mentions": mentions})) == {ALICE, BOB}
    assert named_users(FakeEvent("m.room.member", state_key=CAROL, content={})) == {CAROL}
    assert named_users(FakeEvent("m.room.topic", state_key="", content={})) == frozenset()
    malformed: list[Any] = [None, [], {"user_ids": None}, {"user_ids": {ALICE: 1}}]
    for broken in malformed:
        assert named_users(says("hi", **{"m.mentions": broken})) == frozenset()
    crowd = {"user_ids": [f"@{number}:x" for number in range(MAX_NAMED + 50)]}
    assert len(named_users(says("hi", **{"m.mentions": crowd}))) == MAX_NAMED


RULE_CHANGES: list[Callable[[RuleSet, str], RuleSet]] = [
    lambda rules, user: set_enabled(rules, "override", MASTER, True),
    lambda rules, user: set_enabled(rules, "override", ".m.rule.reaction", False),
    lambda rules, user: set_enabled(rules, "override", ".m.rule.member_event", False),
    lambda rules, user: set_actions(rules, "underride", ".m.rule.message", []),
    lambda rules, user: muted(rules),
    lambda rules, user: muted(rules, "!other:x"),
    lambda rules, user: put_rule(rules, "content", "tea", ["notify", {"set_tweak": "highlight"}], pattern="te?"),
    lambda rules, user: put_rule(rules, "sender", CAROL, []),
    lambda rules, user: put_rule(rules, "sender", user, ["notify"]),
    lambda rules, user: put_rule(rules, "content", "me", ["notify"], pattern=user),
    lambda rules, user: put_rule(
        rules, "override", "!", [], [{"kind": "event_match", "key": "room_id", "pattern": ROOM}]
    ),
    lambda rules, user: put_rule(
        rules, "underride", "all", ["notify"], [{"kind": "event_match", "key": "type", "pattern": "*"}]
    ),
]
RULES = st.lists(st.sampled_from(RULE_CHANGES), max_size=4)
EVENTS = st.builds(
    FakeEvent,
    type=st.sampled_from(
        ["m.room.message", "m.room.encrypted", "m.reaction", "m.room.member", "m.room.tombstone", "x"]
    ),
    sender=st.sampled_from([CAROL, "@dan:x"]),
    room_id=st.sampled_from([ROOM, "!other:x", "!third:x"]),
    state_key=st.sampled_from([None, "", CAROL, ALICE]),
    content=st.fixed_dictionaries(
        {},
        optional={
            "msgtype": st.sampled_from(["m.text", "m.notice"]),
            "body": st.sampled_from(["tea", "time", "hi @alice:x", "hi @bob:x", 3]),
            "membership": st.sampled_from(["invite", "join"]),
            "m.mentions": st.sampled_from([{}, {"room": True}, {"user_ids": [ALICE]}, {"user_ids": [BOB]}]),
        },
    ),
)


@given(RULES, RULES, st.lists(EVENTS, max_size=6), st.sampled_from([2, 10]), st.sampled_from([0, 100]))
@settings(max_examples=250)
def test_a_class_judges_for_all_its_members(
    alices: list[Callable[[RuleSet, str], RuleSet]],
    bobs: list[Callable[[RuleSet, str], RuleSet]],
    events: list[FakeEvent],
    members: int,
    power: int,
) -> None:
    """For an event that neither sent nor names a user, the class says what the user's own rules say; and two users
    of one class in a room hear the same, whichever of them is asked for the class."""
    rules = {ALICE: default_rules(ALICE), BOB: default_rules(BOB)}
    for user, changes in ((ALICE, alices), (BOB, bobs)):
        for change in changes:
            rules[user] = change(rules[user], user)
    compiled = {user: compile_rules(rules[user], user) for user in rules}
    for event in events:
        view = EventView(event)
        named = named_users(event)
        said = {u: compiled[u].evaluate(view, members, power, lambda key: 50, None) for u in rules}
        classes = {u: compiled[u].evaluate_class(view, members, power, lambda key: 50) for u in rules}
        for user in rules:
            if user not in named:
                assert said[user] == classes[user]
        if rules_class(rules[ALICE], ALICE, event.room_id) == rules_class(rules[BOB], BOB, event.room_id):
            assert classes[ALICE] == classes[BOB]


@given(RULES)
@settings(max_examples=100)
def test_in_rooms_that_no_rule_singles_out_the_class_is_the_common_one(
    changes: list[Callable[[RuleSet, str], RuleSet]],
) -> None:
    """Rooms that no rule singles out need no class of their own."""
    rules = default_rules(ALICE)
    for change in changes:
        rules = change(rules, ALICE)
    for room in (ROOM, "!other:x", "!third:x"):
        if room not in rules_by_room(rules)[1]:
            assert rules_class(rules, ALICE, room) == rules_class(rules, ALICE)


# --- cost


def test_rules_about_other_rooms_types_and_senders_are_not_asked() -> None:
    """A thousand muted rooms and senders add nothing to what a message is compared with."""
    rules: dict[str, Any] = dict(default_rules(ALICE)["global"])
    rules["room"] = [{"rule_id": f"!{n}:x", "enabled": True, "actions": []} for n in range(1000)]
    rules["sender"] = [{"rule_id": f"@{n}:x", "enabled": True, "actions": []} for n in range(1000)]
    compiled = compile_rules({"global": rules}, ALICE)
    assert len(read_rules({"global": rules})) > 2000
    assert [len(rule.tests) for rule in compiled.general] == [1, 1, 2, 1]
    assert not compiled.evaluate(EventView(FakeEvent(room_id="!7:x")), 10, 0, lambda key: 50, None).notify
    assert not compiled.evaluate(EventView(FakeEvent(sender="@7:x")), 10, 0, lambda key: 50, None).notify
    assert compiled.evaluate(EventView(FakeEvent()), 10, 0, lambda key: 50, None).notify


def test_a_view_looks_up_each_property_once() -> None:
    """The second class asks nothing of the event that the first one asked already."""
    asked: list[str] = []

    class Counting(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    view = EventView(FakeEvent(content=Counting(msgtype="m.text", body="hello")))
    for user in (ALICE, CAROL):
        compile_rules(default_rules(user), user).evaluate_class(view, 10, 0, lambda key: 50)
    assert sorted(asked) == ["m.mentions", "m.relates_to", "msgtype"]
