"""Push rules: which events notify a user, and how loudly.

A user's rules are JSON (`homeserver.domain.default_push_rules` knows their shape, the defaults and how they change).
`compile_rules` reads them once; the compiled rules judge events. Users whose rules decide alike for events that do not
name them share a class (`rules_class`), which is judged once for all of them; those whom an event names
(`named_users`) are judged one by one. Counting and delivering are done elsewhere.

Anybody can write rules and bodies that meet badly, so work is bounded: a glob never backtracks across a `*`, and one
evaluation does at most MAX_WORK comparisons and a last search, after which patterns match nothing more.
https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

import hashlib
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol

from homeserver.domain.default_push_rules import (
    COUNT,
    KINDS,
    MASTER,
    MAX_PATTERN,
    Condition,
    Rule,
    RuleSet,
    read_condition,
    stored_rules,
)
from homeserver.domain.filters import Path, property_path

# How many characters of texts one evaluation may compare with characters of patterns (about 30 ms at worst).
MAX_WORK = 4_000_000
# Users that one event can name.
MAX_NAMED = 1_000

BODY = ("content", "body")
# Where a rule may name its own user and the event then names them too. In a class, a placeholder stands there.
PERSONAL_KEYS = frozenset({"sender", "state_key", "content.m\\.mentions.user_ids"})
# No parameter of a condition is a list.
PLACEHOLDER = ("own id",)


class EventLike(Protocol):
    """What a rule can ask of an event."""

    @property
    def type(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def room_id(self) -> str: ...
    @property
    def state_key(self) -> str | None: ...
    @property
    def content(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What rules say about an event. `tweaks` is what a push gateway gets, with the highlight and sound among them."""

    notify: bool
    highlight: bool = False
    sound: str | None = None
    tweaks: Mapping[str, Any] = field(default_factory=dict, hash=False)


SILENT = Outcome(notify=False)


# --- globs ---------------------------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """The text without case, character for character as long as before (`?` counts characters)."""
    if text.isascii():
        return text.lower()
    # Alone among all characters İ becomes two in lower case, and Σ becomes one of two by what follows it.
    return text.replace("İ", "i").lower().replace("ς", "σ")


@lru_cache(maxsize=4096)
def glob_regex(pattern: str, words: bool) -> re.Pattern[str]:
    """The expression, for `match`, of a folded glob: for the whole text, or for a part between word boundaries.

    Each piece between stars is looked for at its leftmost place and, the group being atomic, never looked for again:
    further left leaves more room for the rest. So the text is read once, however many stars there are.
    """
    pieces = ["".join("." if character == "?" else re.escape(character) for character in p) for p in pattern.split("*")]
    if words:
        pieces[0] = "(?<![a-z0-9_])" + pieces[0]
        pieces[-1] += "(?![a-z0-9_])"
        return re.compile("".join(f"(?>.*?{piece})" for piece in pieces), re.DOTALL)
    first, *rest = pieces
    last = f".*{rest.pop()}" if rest else ""
    return re.compile(first + "".join(f"(?>.*?{piece})" for piece in rest) + last + r"\Z", re.DOTALL)


# --- conditions ----------------------------------------------------------------------------------------------------

_ABSENT = object()


class EventView:
    """An event as rules see it: properties by path, each looked up and folded once, for all rules of all users."""

    __slots__ = ("_folded", "_values", "event")

    def __init__(self, event: EventLike) -> None:
        self.event = event
        self._values: dict[Path, Any] = {}
        self._folded: dict[Path, str | None] = {}

    def value(self, path: Path) -> Any:
        """The value at the path, or a sentinel that equals nothing."""
        value = self._values.get(path, self)
        if value is self:
            value = self._values[path] = self._find(path)
        return value

    def folded(self, path: Path) -> str | None:
        """The string at the path without case; None if there is no string."""
        if path not in self._folded:
            value = self.value(path)
            self._folded[path] = fold(value) if isinstance(value, str) else None
        return self._folded[path]

    def _find(self, path: Path) -> Any:
        if path[0] != "content":
            is_field = len(path) == 1 and path[0] in ("type", "sender", "room_id", "state_key")
            value = getattr(self.event, path[0]) if is_field else None
            return _ABSENT if value is None else value
        found: Any = self.event.content
        for name in path[1:]:
            # Asked first for a dict, which is much faster.
            if not isinstance(found, (dict, Mapping)):
                return _ABSENT
            found = found.get(name, _ABSENT)
        return found


@dataclass(slots=True)
class Run:
    """One evaluation: what conditions may ask, and the work that is left."""

    view: EventView
    member_count: int
    sender_power: float
    level: Callable[[str], float]
    display_name: str | None
    work: int = MAX_WORK

    def afford(self, work: int) -> bool:
        """Whether there was work left before this one: the last search may take more than is left."""
        left, self.work = self.work, self.work - work
        return left > 0


Test = Callable[[Run], bool]

_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "": operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def _test(condition: Condition) -> Test:
    match condition:
        case ("event_match", key, pattern):
            return _match_test(property_path(key), pattern)
        case ("event_property_is", key, value):
            path, kind = property_path(key), type(value)
            return lambda run: type(found := run.view.value(path)) is kind and bool(found == value)
        case ("event_property_contains", key, value):
            return _contains_test(property_path(key), value)
        case ("room_member_count", comparison):
            return _count_test(comparison)
        case ("sender_notification_permission", key):
            return lambda run: run.sender_power >= run.level(key)
        case _:
            return _holds_display_name


def _match_test(path: Path, pattern: str) -> Test:
    if path == BODY or "*" in pattern or "?" in pattern:
        return _glob_test(path, pattern, words=path == BODY)
    wanted = fold(pattern)
    return lambda run: run.view.folded(path) == wanted


def _glob_test(path: Path, pattern: str, words: bool) -> Test:
    pattern = fold(pattern)
    needle = max(re.split(r"[*?]", pattern), key=len)

    def test(run: Run) -> bool:
        text = run.view.folded(path)
        if text is None or not run.afford(len(text)) or needle not in text:
            return False
        return run.afford(len(text) * len(pattern)) and glob_regex(pattern, words).match(text) is not None

    return test


def _contains_test(path: Path, value: object) -> Test:
    kind = type(value)

    def test(run: Run) -> bool:
        found = run.view.value(path)
        # Comparing values one by one costs as much as searching this many characters.
        if not isinstance(found, list) or not run.afford(32 * len(found)):
            return False
        return any(type(entry) is kind and entry == value for entry in found)

    return test


def _count_test(comparison: str) -> Test:
    found = COUNT.match(comparison)
    assert found is not None, "read_condition lets only comparisons through"
    compare, count = _COMPARISONS[found[1]], int(found[2])
    return lambda run: compare(run.member_count, count)


def _holds_display_name(run: Run) -> bool:
    name, text = fold(run.display_name or ""), run.view.folded(BODY)
    if not name or text is None or len(name) > MAX_PATTERN or not run.afford(len(text)) or name not in text:
        return False
    # The name is no glob: whatever stands in it stands for itself.
    literal = re.compile(f"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])")
    return run.afford(len(text) * len(name)) and literal.search(text) is not None


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
            _test(condition) for condition in rule.conditions if selector is None or _selector(condition) != selector
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
    the class in all rooms that the rules do not single out (`special_rooms`). Names of rules, rules that are off and
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


def special_rooms(ruleset: RuleSet) -> frozenset[str]:
    """The rooms about which some rule decides by their id: there, the class may be another one."""
    conditions = (condition for rule in read_rules(ruleset) for condition in rule.conditions)
    return frozenset(condition[2] for condition in conditions if _is_room(condition))


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
