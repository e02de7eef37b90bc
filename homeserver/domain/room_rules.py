"""Push rules as they are in one room, and as they would be of another user: what a class of rules is stored as.

A class (`homeserver.domain.push_rules.rules_class`) says what rules decide in a room, whoever's they are. The ruleset
that stands for it must say no more: what is about other rooms is left out, and what is about this one is about all.
So, for the ruleset `reduced` of a room, `rules_class(reduced, user)` is `rules_class(whole, user, room)`.
https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

import bisect
import json
import operator
from collections.abc import Mapping
from typing import Any

from homeserver.domain.default_push_rules import KINDS, Rule, RuleSet, read_condition, stored_rules
from homeserver.domain.push_rules import PERSONAL_KEYS

# A rule with its place among all and its kind.
Placed = tuple[int, str, Rule]

# Which parameter of a condition may hold a user's id.
_PARAMETERS = {"event_match": "pattern", "event_property_is": "value", "event_property_contains": "value"}


def rules_by_room(ruleset: RuleSet) -> tuple[RuleSet, Mapping[str, RuleSet]]:
    """Rules that decide in every room as `ruleset` does in a room of which no rule speaks; and by room of which some
    rule speaks, rules that decide in every room as `ruleset` does there.

    Rules that are off fall away. Rooms of which the same is said share a value: 2,000 muted rooms have one.
    """
    common, single = _split(ruleset)
    by_pattern: dict[str, RuleSet] = {}
    by_room: dict[str, RuleSet] = {}
    for room_id, rules in single.items():
        pattern = _pattern(rules, common)
        if pattern not in by_pattern:
            by_pattern[pattern] = _joined(sorted([*common, *rules], key=_PLACE))
        by_room[room_id] = by_pattern[pattern]
    return _joined(common), by_room


def rules_of_another(ruleset: RuleSet, owner: str, user_id: str) -> RuleSet:
    """The rules that say of `user_id` what `ruleset` says of its owner."""
    if owner == user_id:
        return ruleset
    changed: dict[str, list[Rule]] = {}
    for kind in KINDS:
        changed[kind] = [_of_another(rule, kind, owner, user_id) for rule in stored_rules(ruleset, kind)]
    return {"global": changed}


def _of_another(rule: Rule, kind: str, owner: str, user_id: str) -> Rule:
    if kind == "sender":
        return {**rule, "rule_id": user_id} if rule["rule_id"] == owner else rule
    conditions = rule.get("conditions")
    if not isinstance(conditions, list):
        return rule
    return {**rule, "conditions": [_renamed(condition, owner, user_id) for condition in conditions]}


def _split(ruleset: RuleSet) -> tuple[list[Placed], dict[str, list[Placed]]]:
    """The enabled rules that speak of no room, and by room those that speak of it, without saying so any more."""
    common: list[Placed] = []
    single: dict[str, list[Placed]] = {}
    rules = [(kind, rule) for kind in KINDS for rule in stored_rules(ruleset, kind) if rule.get("enabled") is not False]
    for place, (kind, rule) in enumerate(rules):
        conditions = rule.get("conditions") if kind in ("override", "underride") else None
        conditions = conditions if isinstance(conditions, list) else []
        rooms = {room for condition in conditions if (room := _room_of(condition)) is not None}
        if kind == "room":
            rooms = {rule["rule_id"]}
        if not rooms:
            common.append((place, kind, rule))
        elif len(rooms) == 1:
            bare = {**rule, "conditions": [condition for condition in conditions if _room_of(condition) is None]}
            single.setdefault(rooms.pop(), []).append((place, kind, bare))
    return common, single


_PLACE = operator.itemgetter(0)


def _pattern(rules: list[Placed], common: list[Placed]) -> str:
    """The same for rooms of which the same is said at the same places among the common rules."""
    said = [(bisect.bisect(common, place, key=_PLACE), kind, {**rule, "rule_id": None}) for place, kind, rule in rules]
    return json.dumps(said, sort_keys=True)


def _joined(rules: list[Placed]) -> RuleSet:
    kept: dict[str, list[Rule]] = {kind: [] for kind in KINDS}
    for _, kind, rule in rules:
        if kind == "room":
            # It always matches, so nobody asks what comes after it.
            kept["underride"] = [rule]
            break
        kept[kind].append(rule)
    return {"global": kept}


def _room_of(condition: object) -> str | None:
    """The room that a condition asks for."""
    match read_condition(condition):
        case ("event_property_is", "room_id", str(room_id)):
            return room_id
        case _:
            return None


def _renamed(condition: Any, owner: str, user_id: str) -> Any:
    match read_condition(condition):
        case (str(kind), str(key), str(value)) if key in PERSONAL_KEYS and value == owner:
            return {**condition, _PARAMETERS[kind]: user_id}
        case _:
            return condition
