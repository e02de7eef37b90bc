"""A user's push rules: reading them, and changing them one at a time.

They are the account data `m.push_rules`, always as a whole. A change also tells from which position on the user belongs
to another class of rules (architecture.md, section 7), in all rooms or in those of which a rule speaks.
https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from collections.abc import Callable
from typing import Any

from homeserver.domain.canonical import canonical_json
from homeserver.domain.default_push_rules import (
    Rule,
    RuleSet,
    delete_rule,
    get_rule,
    put_rule,
    set_actions,
    set_enabled,
)
from homeserver.domain.errors import TooLarge
from homeserver.domain.push_rules import rules_class
from homeserver.domain.room_rules import rules_by_room
from homeserver.services.kept_json import kept_json
from homeserver.services.persistence import Persistence
from homeserver.services.push.rule_book import DEFAULT_CLASS, RuleBook
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.store import Store
from homeserver.streams.keys import user_key
from homeserver.streams.publications import AccountDataItem

PUSH_RULES = "m.push_rules"
# Of all classes that one change makes: whoever has 2,000 muted rooms has one class there, of 4,000 bytes.
MAX_CLASS_BYTES = 2_000_000
# Of the rows that tell a user's earlier classes; beyond it they are forgotten, and the past is counted by today's.
MAX_HISTORY = 500

# By room number (0: in all others): the class, and what it stands for.
Classes = dict[int, tuple[str, RuleSet]]


class PushRules:
    def __init__(self, database: Persistence, rule_book: RuleBook, max_history: int = MAX_HISTORY) -> None:
        self._database = database
        self._rule_book = rule_book
        self._max_history = max_history

    async def get_all(self, user_id: str) -> dict[str, Any]:
        """All rules, as {"global": {kind: [rule, ...]}}."""
        return await self._database.read(lambda store: self._rule_book.rules_of(store, user_id), single=True)

    async def get(self, user_id: str, kind: str, rule_id: str) -> Rule:
        """Raises NotFound, and BadRequest for a kind that is none."""
        return get_rule(await self.get_all(user_id), kind, rule_id)

    async def put(
        self,
        user_id: str,
        kind: str,
        rule_id: str,
        *,
        actions: object,
        conditions: object = None,
        pattern: object = None,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        """Adds or replaces a rule of the user's own. Raises BadRequest, TooLarge."""
        await self._change(
            user_id, lambda rules: put_rule(rules, kind, rule_id, actions, conditions, pattern, before, after)
        )

    async def delete(self, user_id: str, kind: str, rule_id: str) -> None:
        """Raises NotFound; BadRequest for a default rule."""
        await self._change(user_id, lambda rules: delete_rule(rules, kind, rule_id))

    async def set_enabled(self, user_id: str, kind: str, rule_id: str, enabled: object) -> None:
        """Raises NotFound, BadRequest."""
        await self._change(user_id, lambda rules: set_enabled(rules, kind, rule_id, enabled))

    async def set_actions(self, user_id: str, kind: str, rule_id: str, actions: object) -> None:
        """Raises NotFound, BadRequest, TooLarge."""
        await self._change(user_id, lambda rules: set_actions(rules, kind, rule_id, actions))

    async def _change(self, user_id: str, change: Callable[[RuleSet], RuleSet]) -> None:
        def work(store: Store) -> None:
            change_rules(store, self._rule_book, user_id, change, self._max_history)

        await self._database.write(work)


def change_rules(
    store: Store,
    rule_book: RuleBook,
    user_id: str,
    change: Callable[[RuleSet], RuleSet],
    max_history: int = MAX_HISTORY,
) -> None:
    """Replaces the rules of a user by what `change` makes of them. Raises what it raises, and TooLarge."""
    store.users.lock(user_id)  # two devices that change rules at once: one after the other
    before = rule_book.rules_of(store, user_id)
    after = change(before)
    if after == before:
        return
    content = kept_json(after)
    classes = _classes(store, user_id, after)
    history = store.counts.list_classes(user_id)
    position = store.take_position()
    store.account_data.put(user_id, GLOBAL, PUSH_RULES, content, position)
    _classify(store, user_id, classes, history, position, max_history)
    store.publish(position, [user_key(user_id)], AccountDataItem(user_id, None, PUSH_RULES, content))


def _classify(
    store: Store,
    user_id: str,
    classes: Classes,
    history: list[tuple[int, int, str]],
    position: int,
    max_history: int,
) -> None:
    """Writes which classes are others than before."""
    standing = _standing(history)
    wanted = {room: name for room, (name, _) in classes.items()}
    if wanted[0] == standing[0]:
        rooms = wanted.keys() | standing.keys()
        wanted = {room: wanted.get(room, wanted[0]) for room in rooms}
        wanted = {room: name for room, name in wanted.items() if name != standing.get(room, standing[0])}
    if not wanted:
        return
    if len(history) > max_history + 2 * len(classes):
        store.counts.forget_classes(user_id)
        store.counts.set_classes(user_id, 0, standing)
    store.counts.set_classes(user_id, position, wanted)
    rule_sets = dict(classes.values())
    for name in set(wanted.values()) - {DEFAULT_CLASS}:
        store.counts.add_rule_set(name, canonical_json(rule_sets[name]).decode(), user_id)


def _classes(store: Store, user_id: str, rules: RuleSet) -> Classes:
    """The user's class in all rooms, and in each known room where it is another one. Raises TooLarge."""
    common, by_room = rules_by_room(rules)
    numbers = store.rooms.list_numbers(list(by_room))
    named: dict[int, tuple[str, RuleSet]] = {}
    size = 0
    for rule_set in (common, *(by_room[room_id] for room_id in numbers)):
        if id(rule_set) not in named:
            named[id(rule_set)] = (rules_class(rule_set, user_id), rule_set)
            size += len(canonical_json(rule_set))
            if size > MAX_CLASS_BYTES:
                raise TooLarge("There are too many push rules that decide differently for single rooms")
    everywhere = named[id(common)]
    of_rooms = {number: named[id(by_room[room_id])] for room_id, number in numbers.items()}
    return {0: everywhere, **{number: one for number, one in of_rooms.items() if one[0] != everywhere[0]}}


def _standing(history: list[tuple[int, int, str]]) -> dict[int, str]:
    """By room (0: all others): the class that the newest rows tell."""
    standing = {0: DEFAULT_CLASS}
    for room, _, name in history:
        if room == 0:
            standing = {0: name}
        else:
            standing[room] = name
    return standing
