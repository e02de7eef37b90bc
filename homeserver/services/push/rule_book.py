"""The push rules of users, compiled, by class.

A class is the hash of a rule set with its owner's id left out: users of one class get the same from their rules for
every event that neither sent nor names them. Compiled rules are immutable, so they are kept; who is in which class is
read fresh.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson

from homeserver.domain.default_push_rules import default_rules, merged_rules
from homeserver.domain.push_rules import CompiledRules, compile_rules, rules_class
from homeserver.domain.room_rules import rules_of_another
from homeserver.storage.store import Store

ANYBODY = "@anybody:example.org"
DEFAULT_CLASS = rules_class(default_rules(ANYBODY), ANYBODY)
MAX_COMPILED = 2_000


class RuleBook:
    """Thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._classes: OrderedDict[str, CompiledRules] = OrderedDict()
        self._personal: OrderedDict[tuple[str, str], CompiledRules] = OrderedDict()
        self._classes[DEFAULT_CLASS] = compile_rules(default_rules(ANYBODY), ANYBODY)

    def get(self, store: Store, classes: Sequence[str]) -> list[CompiledRules]:
        """The rules of each class, in order."""
        with self._lock:
            found = {name: rules for name in classes if (rules := self._classes.get(name)) is not None}
        missing = [name for name in classes if name not in found]
        if missing:
            for name, (rule_set, user_id) in store.counts.list_rule_sets(missing).items():
                found[name] = compile_rules(orjson.loads(rule_set), user_id)
            with self._lock:
                for name in missing:
                    self._classes[name] = found[name]
                while len(self._classes) > MAX_COMPILED:
                    self._drop_oldest()
        return [found[name] for name in classes]

    def classes_of(self, store: Store, user_ids: list[str], room: int) -> dict[str, str]:
        """The class that each user belongs to in a room, now."""
        changed = store.counts.list_newest_classes(user_ids, room)
        return {user_id: changed.get(user_id, DEFAULT_CLASS) for user_id in user_ids}

    def personal(self, store: Store, user_id: str, name: str) -> CompiledRules:
        """The rules of a user of the class `name`, who may be named by an event. The class tells them, so they never
        change."""
        with self._lock:
            rules = self._personal.get((user_id, name))
        if rules is None:
            if name == DEFAULT_CLASS:
                rule_set = default_rules(user_id)
            else:
                text, owner = store.counts.list_rule_sets([name])[name]
                rule_set = rules_of_another(orjson.loads(text), owner, user_id)
            rules = compile_rules(rule_set, user_id)
            with self._lock:
                self._personal[(user_id, name)] = rules
                if len(self._personal) > MAX_COMPILED:
                    self._personal.popitem(last=False)
        return rules

    def rules_of(self, store: Store, user_id: str) -> dict[str, Any]:
        """All rules of a user, as JSON: the defaults with the user's changes."""
        content = store.account_data.find(user_id, 0, "m.push_rules")
        return dict(merged_rules(None if content is None else orjson.loads(content), user_id))

    def _drop_oldest(self) -> None:
        oldest = next(name for name in self._classes if name != DEFAULT_CLASS)
        del self._classes[oldest]
