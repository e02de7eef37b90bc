"""What the conditions of push rules ask of an event.

Each condition (as `default_push_rules.read_condition` reads it) becomes a test: a function that one evaluation, a
`Run`, is given. Which rules there are, and what follows from them, is told in `homeserver.domain.push_rules`.

Anybody can write rules and bodies that meet badly, so work is bounded: a glob never backtracks across a `*`, and one
evaluation does at most MAX_WORK comparisons and a last search, after which patterns match nothing more.
https://spec.matrix.org/v1.19/client-server-api/#conditions-1
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from homeserver.domain.default_push_rules import COUNT, MAX_PATTERN, Condition
from homeserver.domain.filters import Path, property_path

# How many characters of texts one evaluation may compare with characters of patterns (about 30 ms at worst).
MAX_WORK = 4_000_000
BODY = ("content", "body")


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


def condition_test(condition: Condition) -> Test:
    """What the condition asks."""
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
