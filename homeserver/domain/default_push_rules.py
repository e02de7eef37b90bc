"""Push rules as JSON: those that every user starts with, what a rule may say, and how a user changes them.

Nothing here judges events (`homeserver.domain.push_rules`). Changes are pure: they take a whole ruleset (the content of
the account data `m.push_rules`) and return the next one. The rules that looked for mentions in the text
(`contains_user_name`, `contains_display_name`, `roomnotif`) left the spec with version 1.17 and are not among the
defaults; stored copies of them fall away in the merge.
https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.domain.errors import BadRequest, NotFound, TooLarge

# The content of the account data `m.push_rules`: {"global": {kind: [rule, ...]}}, the most important rule first.
RuleSet = Mapping[str, Any]
Rule = Mapping[str, Any]

# The kinds of rules in the order in which they are asked.
KINDS = ("override", "content", "room", "sender", "underride")

# The one default rule that stands above the rules of the user.
MASTER = ".m.rule.master"

MAX_PATTERN = 256
# JSON of one rule, and of all rules of a user (somebody with 2,000 muted rooms has 250,000).
MAX_RULE_BYTES = 8_192
MAX_RULESET_BYTES = 500_000

# A condition that was understood: its kind and its parameters, in the order of `_PARAMETERS`.
Condition = tuple[Any, ...]

HIGHLIGHT = {"set_tweak": "highlight"}


def _sound(name: str) -> dict[str, str]:
    return {"set_tweak": "sound", "value": name}


def _match(key: str, pattern: str) -> dict[str, str]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(
    rule_id: str, conditions: Sequence[Mapping[str, Any]], *actions: str | Mapping[str, str], enabled: bool = True
) -> dict[str, Any]:
    return {
        "rule_id": rule_id,
        "default": True,
        "enabled": enabled,
        "conditions": [dict(condition) for condition in conditions],
        "actions": [action if isinstance(action, str) else dict(action) for action in actions],
    }


def default_rules(user_id: str) -> RuleSet:
    """The rules of a user who changed nothing, as fresh JSON."""
    mention = {"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": user_id}
    room_mention = {"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": True}
    may_notify_room = {"kind": "sender_notification_permission", "key": "room"}
    replacement = {"kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace"}
    member = _match("type", "m.room.member")
    one_to_one = {"kind": "room_member_count", "is": "2"}
    message = _match("type", "m.room.message")
    encrypted = _match("type", "m.room.encrypted")
    no_key = _match("state_key", "")
    invite_for_me = [member, _match("content.membership", "invite"), _match("state_key", user_id)]
    override = [
        _rule(MASTER, [], enabled=False),
        _rule(".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")]),
        _rule(".m.rule.invite_for_me", invite_for_me, "notify", _sound("default")),
        _rule(".m.rule.member_event", [member]),
        _rule(".m.rule.is_user_mention", [mention], "notify", _sound("default"), HIGHLIGHT),
        _rule(".m.rule.is_room_mention", [room_mention, may_notify_room], "notify", HIGHLIGHT),
        _rule(".m.rule.tombstone", [_match("type", "m.room.tombstone"), no_key], "notify", HIGHLIGHT),
        _rule(".m.rule.reaction", [_match("type", "m.reaction")]),
        _rule(".m.rule.room.server_acl", [_match("type", "m.room.server_acl"), no_key]),
        _rule(".m.rule.suppress_edits", [replacement]),
    ]
    underride = [
        _rule(".m.rule.call", [_match("type", "m.call.invite")], "notify", _sound("ring")),
        _rule(".m.rule.encrypted_room_one_to_one", [one_to_one, encrypted], "notify", _sound("default")),
        _rule(".m.rule.room_one_to_one", [one_to_one, message], "notify", _sound("default")),
        _rule(".m.rule.message", [message], "notify"),
        _rule(".m.rule.encrypted", [encrypted], "notify"),
    ]
    return {"global": {"override": override, "content": [], "room": [], "sender": [], "underride": underride}}


def merged_rules(stored: RuleSet | None, user_id: str) -> RuleSet:
    """The rules of a user: today's defaults with the `enabled` and `actions` that the stored ruleset gives them, and
    the user's own rules in their order.

    What is stored may come from an older version of the defaults, so the conditions of defaults are always ours.
    """
    defaults = default_rules(user_id)
    merged: dict[str, list[Rule]] = {}
    for kind in KINDS:
        changed = {rule["rule_id"]: rule for rule in stored_rules(stored, kind)}
        ours = [_as_changed(rule, changed.get(rule["rule_id"])) for rule in defaults["global"][kind]]
        theirs = [rule for rule_id, rule in changed.items() if not rule_id.startswith(".")]
        above = 1 if ours and ours[0]["rule_id"] == MASTER else 0
        merged[kind] = [*ours[:above], *theirs, *ours[above:]]
    return {"global": merged}


def stored_rules(ruleset: RuleSet | None, kind: str) -> list[Rule]:
    """The rules of one kind, without what is no rule at all; the rest of a rule is not checked."""
    scope = ruleset.get("global") if isinstance(ruleset, Mapping) else None
    rules = scope.get(kind) if isinstance(scope, Mapping) else None
    if not isinstance(rules, list):
        return []
    return [rule for rule in rules if isinstance(rule, Mapping) and isinstance(rule.get("rule_id"), str)]


def _as_changed(default: Rule, changed: Rule | None) -> Rule:
    if changed is None:
        return default
    enabled, actions = changed.get("enabled"), changed.get("actions")
    return {
        **default,
        "enabled": enabled if isinstance(enabled, bool) else default["enabled"],
        "actions": actions if isinstance(actions, list) else default["actions"],
    }


_PARAMETERS = {
    "event_match": ("key", "pattern"),
    "event_property_is": ("key", "value"),
    "event_property_contains": ("key", "value"),
    "room_member_count": ("is",),
    "sender_notification_permission": ("key",),
    "contains_display_name": (),
}
# A comparison of `room_member_count`.
COUNT = re.compile(r"(==|<=|>=|<|>|)([0-9]{1,15})\Z")


def read_condition(raw: object) -> Condition | None:
    """The condition, or None if it is unknown or malformed and so matches nothing."""
    kind = raw.get("kind") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or not isinstance(kind, str) or kind not in _PARAMETERS:
        return None
    # An Ellipsis, which no JSON has, for what is missing: null may be a value.
    condition: Condition = (kind, *(raw.get(name, ...) for name in _PARAMETERS[kind]))
    if not all(_is_parameter(name, value) for name, value in zip(_PARAMETERS[kind], condition[1:], strict=True)):
        return None
    if kind == "event_match" and condition[1] == "room_id" and not re.search(r"[*?]", condition[2]):
        # Ids of rooms differ by case; as an exact match, the condition also says that the rule is about one room.
        return ("event_property_is", "room_id", condition[2])
    return condition


def _is_parameter(name: str, value: object) -> bool:
    if name == "value":
        return value is None or isinstance(value, str | bool | int)
    if not isinstance(value, str):
        return False
    if name == "is":
        return COUNT.match(value) is not None
    return len(value) <= MAX_PATTERN


def get_rule(ruleset: RuleSet, kind: str, rule_id: str) -> Rule:
    """One rule; NotFound if there is none."""
    rules = _rules(ruleset, kind)
    return rules[_place(rules, rule_id)]


def put_rule(
    ruleset: RuleSet,
    kind: str,
    rule_id: str,
    actions: object,
    conditions: object = None,
    pattern: object = None,
    before: str | None = None,
    after: str | None = None,
) -> RuleSet:
    """Add or replace a rule of the user's own.

    It goes right before (more important than) the rule `before`, else right after `after`, else, if it is new, above
    all others of the user. A rule that is replaced stays on or off as it was.
    """
    rules = _rules(ruleset, kind)
    _check_rule_id(rule_id)
    rule: dict[str, Any] = {"rule_id": rule_id, "default": False, "enabled": True, "actions": _actions(actions)}
    if kind == "content":
        rule["pattern"] = _pattern(pattern)
    elif kind in ("override", "underride"):
        rule["conditions"] = _conditions(conditions)
    old = next((place for place, other in enumerate(rules) if other["rule_id"] == rule_id), None)
    if old is not None:
        rule["enabled"] = rules[old].get("enabled") is not False
    others = [other for other in rules if other["rule_id"] != rule_id]
    for neighbour in (before, after):
        if neighbour is not None and (neighbour.startswith(".") or not _has(others, neighbour)):
            raise BadRequest(f"before/after rule not found: {neighbour}", "M_UNKNOWN")
    if before is not None:
        place = _place(others, before)
    elif after is not None:
        place = _place(others, after) + 1
    elif old is not None:
        place = old
    else:
        place = 1 if _has(others[:1], MASTER) else 0
    return _check_size(_replaced(ruleset, kind, [*others[:place], rule, *others[place:]]), rule)


def delete_rule(ruleset: RuleSet, kind: str, rule_id: str) -> RuleSet:
    """Without the rule; NotFound if there is none, BadRequest for a default rule."""
    rules = _rules(ruleset, kind)
    place = _place(rules, rule_id)
    if rule_id.startswith("."):
        raise BadRequest("a default push rule cannot be deleted, only disabled")
    return _replaced(ruleset, kind, [*rules[:place], *rules[place + 1 :]])


def set_enabled(ruleset: RuleSet, kind: str, rule_id: str, enabled: object) -> RuleSet:
    """Switch a rule, the user's or a default one, on or off."""
    if not isinstance(enabled, bool):
        raise BadRequest("enabled must be true or false", "M_BAD_JSON")
    return _changed(ruleset, kind, rule_id, "enabled", enabled)


def set_actions(ruleset: RuleSet, kind: str, rule_id: str, actions: object) -> RuleSet:
    """Change what a rule, the user's or a default one, does."""
    changed = _changed(ruleset, kind, rule_id, "actions", _actions(actions))
    return _check_size(changed, get_rule(changed, kind, rule_id))


def _changed(ruleset: RuleSet, kind: str, rule_id: str, key: str, value: object) -> RuleSet:
    rules = _rules(ruleset, kind)
    place = _place(rules, rule_id)
    changed = {**rules[place], key: value}
    return _replaced(ruleset, kind, [*rules[:place], changed, *rules[place + 1 :]])


def _replaced(ruleset: RuleSet, kind: str, rules: list[Rule]) -> RuleSet:
    return {**ruleset, "global": {**ruleset["global"], kind: rules}}


def _check_size(ruleset: RuleSet, rule: Rule) -> RuleSet:
    """Asked only where something may grow: rules that are too many can still be deleted and switched off."""
    if len(json.dumps(rule)) > MAX_RULE_BYTES:
        raise TooLarge("the push rule is too large")
    if len(json.dumps(ruleset)) > MAX_RULESET_BYTES:
        raise TooLarge("there are too many push rules")
    return ruleset


def _rules(ruleset: RuleSet, kind: str) -> list[Rule]:
    if kind not in KINDS:
        raise BadRequest(f"push rules are of the kinds {', '.join(KINDS)}")
    return stored_rules(ruleset, kind)


def _place(rules: Sequence[Rule], rule_id: str) -> int:
    for place, rule in enumerate(rules):
        if rule["rule_id"] == rule_id:
            return place
    raise NotFound("The push rule was not found.")


def _has(rules: Sequence[Rule], rule_id: str) -> bool:
    return any(rule["rule_id"] == rule_id for rule in rules)


def _check_rule_id(rule_id: str) -> None:
    if not rule_id or rule_id.startswith(".") or "/" in rule_id or "\\" in rule_id:
        raise BadRequest("the id of a push rule is not empty, does not start with a dot and has no slash or backslash")


def _actions(actions: object) -> list[Any]:
    """The actions without the historical ones, which servers "MUST ignore ... for instance, by stripping them"."""
    if not isinstance(actions, list):
        raise BadRequest("actions must be a list", "M_BAD_JSON" if actions is not None else "M_MISSING_PARAM")
    for action in actions:
        known = action in ("notify", "dont_notify", "coalesce") if isinstance(action, str) else _is_tweak(action)
        if not known:
            raise BadRequest("an action is 'notify' or an object with set_tweak")
    return [action for action in actions if action not in ("dont_notify", "coalesce")]


def _is_tweak(action: object) -> bool:
    return isinstance(action, Mapping) and isinstance(action.get("set_tweak"), str)


def _pattern(pattern: object) -> str:
    if pattern is None:
        raise BadRequest("a content rule needs a pattern", "M_MISSING_PARAM")
    if not isinstance(pattern, str):
        raise BadRequest("pattern must be a string", "M_BAD_JSON")
    if len(pattern) > MAX_PATTERN:
        raise BadRequest(f"pattern has more than {MAX_PATTERN} characters")
    return pattern


def _conditions(conditions: object) -> list[Any]:
    """Conditions of unknown kinds are kept, for clients that know them; malformed ones of known kinds are refused."""
    if conditions is None:
        return []
    if not isinstance(conditions, list):
        raise BadRequest("conditions must be a list", "M_BAD_JSON")
    for condition in conditions:
        if not isinstance(condition, Mapping) or not isinstance(condition.get("kind"), str):
            raise BadRequest("a condition is an object with a kind", "M_BAD_JSON")
        if condition["kind"] in _PARAMETERS and read_condition(condition) is None:
            raise BadRequest(f"a condition of kind {condition['kind']} is malformed")
    return conditions
