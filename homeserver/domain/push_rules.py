"""Push rules: which events notify a user, and how loudly.

A user's rules are JSON (`homeserver.domain.default_push_rules` knows their shape, the defaults and how they change).
`compile_rules` reads them once; the compiled rules judge events. Users whose rules decide alike for events that do not
name them share a class (`rules_class`), which is judged once for all of them; those whom an event names
(`named_users`) are judged one by one. Counting and delivering are done elsewhere.

What conditions ask of events, at which cost, stands in `homeserver.domain.push_conditions`.
https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

import hashlib
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from homeserver.domain.default_push_rules import (
    KINDS,
    MASTER,
    Condition,
    Rule,
    RuleSet,
    read_condition,
    stored_rules,
)
from homeserver.domain.push_conditions import EventLike, EventView, Run, Test, condition_test, fold

# Users that one event can name.
MAX_NAMED = 1_000

# Where a rule may name its own user and the event then names them too. In a class, a placeholder stands there.
PERSONAL_KEYS = frozenset({"sender", "state_key", "content.m\\.mentions.user_ids"})
# No parameter of a condition is a list.
PLACEHOLDER = ("own id",)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What rules say about an event. `tweaks` is what a push gateway gets, with the highlight and sound among them."""

    notify: bool
    highlight: bool = False
    sound: str | None = None
    tweaks: Mapping[str, Any] = field(default_factory=dict, hash=False)


SILENT = Outcome(notify=False)


# --- rules ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadRule:
    """An enabled rule of any kind as conditions and what follows from them."""

    conditions: tuple[Condition, ...]
    outcome: Outcome


def read_rules(ruleset: RuleSet) -> list[ReadRule]:
    """The rules that can match, in the order in which they are asked."""
    rules = [(kind, rule) for kind in KINDS for rule in stored_rules(ruleset, kind)]
    rules.sort(key=lambda rule: rule[1]["rule_id"] != MASTER)
    read = []
    for kind, rule in rules:
        conditions = [read_condition(condition) for condition in _raw_conditions(kind, rule)]
        understood = tuple(condition for condition in conditions if condition is not None)
        if rule.get("enabled") is not False and len(understood) == len(conditions):
            read.append(ReadRule(understood, _outcome(rule.get("actions"))))
            if not understood:
                break  # It always matches: nobody asks the rest.
    return read


def _raw_conditions(kind: str, rule: Rule) -> Sequence[object]:
    match kind:
        case "content":
            return [{"kind": "event_match", "key": "content.body", "pattern": rule.get("pattern")}]
        case "room":
            return [{"kind": "event_property_is", "key": "room_id", "value": rule["rule_id"]}]
        case "sender":
            return [{"kind": "event_property_is", "key": "sender", "value": rule["rule_id"]}]
        case _:
            conditions = rule.get("conditions") or []
            return conditions if isinstance(conditions, list) else [None]


def _outcome(actions: object) -> Outcome:
    if not isinstance(actions, list) or "notify" not in actions:
        return SILENT
    tweaks = {
        action["set_tweak"]: action.get("value", True if action["set_tweak"] == "highlight" else None)
        for action in actions
        if isinstance(action, Mapping) and isinstance(action.get("set_tweak"), str)
    }
    sound = tweaks.get("sound")
    return Outcome(
        notify=True,
        highlight=tweaks.get("highlight") is True,
        sound=sound if isinstance(sound, str) else None,
        tweaks=MappingProxyType(tweaks),
    )


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """`order` is its place among all rules; a `personal` one matches only events that name its user."""

    order: int
    tests: tuple[Test, ...]
    outcome: Outcome
    personal: bool


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """The rules of one user, ready to judge.

    Rules about one room, type or sender lie under it (`selected`), so that they cost nothing for other events.
    `asks_display_name`: the class cannot judge for this user; ask `evaluate` for every event.
    """

    user_id: str
    asks_display_name: bool
    general: tuple[CompiledRule, ...]
    selected: Mapping[tuple[str, str | None], tuple[CompiledRule, ...]]

    def evaluate(
        self,
        event_view: EventView,
        room_member_count: int,
        sender_power: float,
        notification_level: Callable[[str], float],
        display_name: str | None,
    ) -> Outcome:
        """What the event means to the user. Nobody is notified of their own events."""
        if event_view.event.sender == self.user_id:
            return SILENT
        run = Run(event_view, room_member_count, sender_power, notification_level, display_name)
        return self._judge(run, personal=True)

    def evaluate_class(
        self,
        event_view: EventView,
        room_member_count: int,
        sender_power: float,
        notification_level: Callable[[str], float],
    ) -> Outcome:
        """What the event means to everybody of the class who neither sent it nor is named by it."""
        run = Run(event_view, room_member_count, sender_power, notification_level, None)
        return self._judge(run, personal=False)

    def _judge(self, run: Run, personal: bool) -> Outcome:
        for rule in self._candidates(run.view):
            if rule.personal and not personal:
                continue
            for test in rule.tests:
                if not test(run):
                    break
            else:
                return rule.outcome
        return SILENT

    def _candidates(self, view: EventView) -> Iterable[CompiledRule]:
        event, selected = view.event, self.selected
        by_type = selected.get(("type", view.folded(("type",))), ())
        by_room = selected.get(("room_id", event.room_id), ())
        by_sender = selected.get(("sender", event.sender), ())
        if not (by_type or by_room or by_sender):
            return self.general
        return sorted((*self.general, *by_type, *by_room, *by_sender), key=_ORDER)


_ORDER = operator.attrgetter("order")


def compile_rules(ruleset: RuleSet, user_id: str) -> CompiledRules:
    """The rules of the user, ready to judge; what is malformed or unknown in them matches nothing."""
    general: list[CompiledRule] = []
    selected: dict[tuple[str, str | None], list[CompiledRule]] = {}
    asks_display_name = False
    for order, rule in enumerate(read_rules(ruleset)):
        selector = next((key for key in map(_selector, rule.conditions) if key is not None), None)
        # The place where it lies proves the selecting condition.
        tests = tuple(
            condition_test(condition)
            for condition in rule.conditions
            if selector is None or _selector(condition) != selector
        )
        names_display = any(condition[0] == "contains_display_name" for condition in rule.conditions)
        personal = names_display or any(_is_personal(condition, user_id) for condition in rule.conditions)
        compiled = CompiledRule(order, tests, rule.outcome, personal)
        (general if selector is None else selected.setdefault(selector, [])).append(compiled)
        asks_display_name = asks_display_name or names_display
    return CompiledRules(
        user_id,
        asks_display_name,
        tuple(general),
        MappingProxyType({key: tuple(rules) for key, rules in selected.items()}),
    )


def _selector(condition: Condition) -> tuple[str, str] | None:
    match condition:
        case ("event_property_is", "room_id" | "sender" as key, str(value)):
            return key, value
        case ("event_match", "type", str(pattern)) if "*" not in pattern and "?" not in pattern:
            return "type", fold(pattern)
        case _:
            return None


def _is_personal(condition: Condition, user_id: str) -> bool:
    return len(condition) == 3 and condition[1] in PERSONAL_KEYS and condition[2] == user_id


# --- classes -------------------------------------------------------------------------------------------------------


def rules_class(ruleset: RuleSet, user_id: str, room_id: str | None = None) -> str:
    """The class of the user in the room: 32 hexadecimal digits.

    Two users of one class get the same from their rules for every event that neither sent nor names. Without a room:
    the class in all rooms that the rules do not single out. Names of rules, rules that are off and
    rules behind one that always matches make no difference.
    """
    described: list[tuple[bool, object]] = []
    owner = None
    for rule in read_rules(ruleset):
        if any(_is_room(condition) and condition[2] != room_id for condition in rule.conditions):
            continue
        conditions = [condition for condition in rule.conditions if not _is_room(condition)]
        if any(condition[0] == "contains_display_name" for condition in conditions):
            owner = user_id
        shown = [(*c[:2], PLACEHOLDER) if _is_personal(c, user_id) else c for c in conditions]
        described.append((rule.outcome.notify, [shown, dict(rule.outcome.tweaks)]))
        if not conditions:
            break
    while described and not described[-1][0]:
        described.pop()  # Where no rule follows that notifies, silence needs no rule.
    text = json.dumps([owner, described], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_room(condition: Condition) -> bool:
    return condition[:2] == ("event_property_is", "room_id") and isinstance(condition[2], str)


def named_users(event: EventLike) -> frozenset[str]:
    """The users for whom the event may mean something else than for their class: those whom it mentions and the one
    whose state it is; MAX_NAMED at most."""
    mentions = event.content.get("m.mentions")
    user_ids = mentions.get("user_ids") if isinstance(mentions, Mapping) else None
    named = {event.state_key} if _is_user_id(event.state_key) else set()
    for user_id in user_ids if isinstance(user_ids, list) else ():
        if len(named) >= MAX_NAMED:
            break
        if _is_user_id(user_id):
            named.add(user_id)
    return frozenset(name for name in named if name is not None)


def _is_user_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 255 and value.startswith("@") and ":" in value and "\0" not in value
