"""The state of rooms: interned keys, groups, the current state and its changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeserver.domain.event import StateKey
from homeserver.storage.caches import ByteCache
from homeserver.storage.packing import derive, find, flatten
from homeserver.storage.transaction import Statement, Transaction

FIND_KEYS = Statement(
    "find_state_keys",
    "text[], text[]",
    "SELECT k.type, k.state_key, k.number FROM unnest($1, $2) AS w(type, state_key)"
    " JOIN state_keys k ON k.state_key = w.state_key AND k.type = w.type",
)
# Those that are there already are only found: an INSERT would take a number for each. Last: whether it is new.
INTERN_KEYS = Statement(
    "intern_state_keys",
    "text[], text[]",
    "WITH found AS (SELECT k.type, k.state_key, k.number FROM unnest($1, $2) AS w(type, state_key)"
    " JOIN state_keys k ON k.state_key = w.state_key AND k.type = w.type),"
    " added AS (INSERT INTO state_keys (type, state_key)"
    " SELECT w.type, w.state_key FROM unnest($1, $2) AS w(type, state_key)"
    " WHERE NOT EXISTS (SELECT 1 FROM found f WHERE f.state_key = w.state_key AND f.type = w.type) ORDER BY 2, 1"
    " ON CONFLICT DO NOTHING RETURNING type, state_key, number)"
    " SELECT type, state_key, number, false FROM found UNION ALL SELECT type, state_key, number, true FROM added",
)
NAME_KEYS = Statement(
    "name_state_keys", "int[]", "SELECT number, type, state_key FROM state_keys WHERE number = ANY($1)"
)
# A group and those beneath it, for many groups at once.
FIND_GROUPS = Statement(
    "find_state_groups",
    "bigint[]",
    "WITH RECURSIVE chain AS (SELECT number, parent, entries FROM state_groups WHERE number = ANY($1)"
    " UNION SELECT g.number, g.parent, g.entries FROM state_groups g JOIN chain c ON g.number = c.parent)"
    " SELECT number, parent, entries FROM chain",
)
ADD_GROUP = Statement(
    "add_state_group",
    "bigint, bigint, bigint, bytea",
    "INSERT INTO state_groups (number, room, parent, entries) VALUES ($1, $2, $3, $4)",
)
FIND_CURRENT = Statement(
    "find_current_state",
    "bigint, int, text[], text[]",
    "SELECT k.type, k.state_key, c.event FROM unnest($3, $4) AS w(type, state_key)"
    " JOIN state_keys k ON k.state_key = w.state_key AND k.type = w.type"
    " JOIN current_state c ON c.room = $1 AND c.generation = $2 AND c.key = k.number",
)
SET_CURRENT = Statement(
    "set_current_state",
    "bigint, int, bigint, int[], bigint[]",
    "INSERT INTO current_state (room, generation, key, event, position)"
    " SELECT $1, $2, key, event, $3 FROM unnest($4, $5) AS w(key, event)"
    " ON CONFLICT (room, generation, key) DO UPDATE SET event = EXCLUDED.event, position = EXCLUDED.position",
)
REMOVE_CURRENT = Statement(
    "remove_current_state",
    "bigint, int, int[]",
    "DELETE FROM current_state WHERE room = $1 AND generation = $2 AND key = ANY($3)",
)
ADD_CHANGES = Statement(
    "add_state_changes",
    "bigint, bigint, int[], bigint[], bigint[]",
    "INSERT INTO state_changes (room, position, key, before, after)"
    " SELECT $1, $2, * FROM unnest($3, $4, $5) AS w(key, before, after)",
)
CHANGES = Statement(
    "list_state_changes",
    "bigint[], bigint[], bigint[]",
    "SELECT c.room, c.key, k.type, k.state_key, (array_agg(c.before ORDER BY c.position))[1],"
    " (array_agg(c.after ORDER BY c.position DESC))[1] FROM unnest($1, $2, $3) AS w(room, after, upto)"
    " JOIN state_changes c ON c.room = w.room AND c.position > w.after AND c.position <= w.upto"
    " JOIN state_keys k ON k.number = c.key GROUP BY c.room, c.key, k.type, k.state_key",
)
CURRENT_OF_ROOMS = Statement(
    "current_state_of_rooms",
    "bigint[], int[], int[]",
    "SELECT c.room, c.key, c.event FROM unnest($1, $2) AS w(room, generation)"
    " JOIN current_state c ON c.room = w.room AND c.generation = w.generation AND ($3 IS NULL OR c.key = ANY($3))",
)
# $3: keys of member events; of those without any other.
CURRENT_WITHOUT_MEMBERS = Statement(
    "current_state_without_members",
    "bigint[], int[], int[]",
    "SELECT c.room, c.key, c.event FROM unnest($1, $2) AS w(room, generation)"
    " JOIN current_state c ON c.room = w.room AND c.generation = w.generation WHERE c.key = ANY($3)"
    " OR NOT EXISTS (SELECT 1 FROM state_keys k WHERE k.number = c.key AND k.type = 'm.room.member')",
)
# Of each key that changed after a position: what stood there before its first such change.
CHANGED_AFTER = Statement(
    "state_changed_after",
    "bigint[], bigint[], int[]",
    "SELECT DISTINCT ON (c.room, c.key) c.room, c.key, c.before FROM unnest($1, $2) AS w(room, position)"
    " JOIN state_changes c ON c.room = w.room AND c.position > w.position AND ($3 IS NULL OR c.key = ANY($3))"
    " ORDER BY c.room, c.key, c.position",
)
# By the events with which state changed: these are found by their positions.
ROOMS_CHANGED = Statement(
    "list_rooms_changed",
    "int, bigint, bigint, int",
    "SELECT e.position, e.room FROM events e"
    " JOIN state_changes c ON c.room = e.room AND c.position = e.position AND c.key = $1"
    " WHERE e.position > $2 AND e.position <= $3 AND e.live ORDER BY e.position LIMIT $4",
)


@dataclass(frozen=True, slots=True)
class Changed:
    """A key of a room's state that changed in a range of positions: which event stood there before, and which after."""

    key: int
    name: StateKey
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of state_groups."""

    parent: int | None
    entries: bytes


def weigh(layer: Layer) -> int:
    return 150 + len(layer.entries)


GroupCache = ByteCache[int, Layer]
KeyCache = ByteCache[StateKey, int]


class State:
    def __init__(self, transaction: Transaction, groups: GroupCache, keys: KeyCache) -> None:
        self._transaction = transaction
        self._groups = groups
        self._keys = keys
        # Keys that this transaction made, and what it found since, which may be some of these: not to be shared before
        # it is committed.
        self._own_keys: dict[StateKey, int] = {}

    def number_keys(self, keys: Iterable[StateKey]) -> dict[StateKey, int]:
        """The internal numbers of state keys, known ones only."""
        numbers, missing = self._remembered(filter(_can_stand, keys))
        if missing:
            for type, state_key, number in self._transaction.fetch(FIND_KEYS, *_columns(missing)):
                numbers[(type, state_key)] = self._remember((type, state_key), number)
        return numbers

    def intern_keys(self, keys: Iterable[StateKey]) -> dict[StateKey, int]:
        """The internal numbers of state keys, made where they are new."""
        numbers, missing = self._remembered(keys)
        if missing:
            added = {}
            for type, state_key, number, is_new in self._transaction.fetch(INTERN_KEYS, *_columns(missing)):
                if is_new:
                    added[(type, state_key)] = number
                else:
                    numbers[(type, state_key)] = self._remember((type, state_key), number)
            self._own_keys.update(added)
            numbers.update(added)
            # What somebody else has made since this statement began, the next one sees.
            numbers.update(self.number_keys(key for key in missing if key not in numbers))
        return numbers

    def _remembered(self, keys: Iterable[StateKey]) -> tuple[dict[StateKey, int], list[StateKey]]:
        """The numbers that are known without asking, and the keys of the others."""
        numbers: dict[StateKey, int] = {}
        missing: list[StateKey] = []
        for key in keys:
            number = self._keys.get(key) or self._own_keys.get(key)
            if number is not None:
                numbers[key] = number
            else:
                missing.append(key)
        return numbers, missing

    def _remember(self, key: StateKey, number: int) -> int:
        if self._own_keys:
            self._own_keys[key] = number
        else:
            self._keys.put(key, number)
        return number

    def name_keys(self, numbers: Iterable[int]) -> dict[int, StateKey]:
        """The state keys of internal numbers."""
        rows = self._transaction.fetch(NAME_KEYS, list(numbers))
        return {number: (type, state_key) for number, type, state_key in rows}

    def load_groups(self, groups: Iterable[int]) -> None:
        """Brings groups and what lies beneath them into the cache, in one query."""
        missing = [group for group in set(groups) if group and not self._chain(group)]
        if missing:
            for number, parent, entries in self._transaction.fetch(FIND_GROUPS, missing):
                self._groups.put(number, Layer(parent, bytes(entries)))

    def layers(self, group: int) -> list[bytes]:
        """The layers of a group, newest first. Group 0 is empty."""
        return [layer.entries for _, layer in self._load_chain(group)]

    def find_in_group(self, group: int, key: int) -> int | None:
        """The event number at a key number."""
        return find(self.layers(group), key)

    def get_group(self, group: int) -> dict[int, int]:
        """All of a group: event number by key number."""
        return flatten(self.layers(group))

    def add_group(self, number: int, room: int, base: int, changes: Mapping[int, int]) -> None:
        """A group that is `base` with `changes`; event number 0 unsets a key."""
        chain = self._load_chain(base)
        taken, entries = derive([layer.entries for _, layer in chain], changes)
        parent = chain[taken][0] if taken < len(chain) else None
        self._transaction.defer(ADD_GROUP, number, room, parent, entries)
        self._groups.put(number, Layer(parent, entries))

    def find_current(self, room: int, generation: int, keys: Sequence[StateKey]) -> dict[StateKey, int]:
        """Event numbers of the current state at some keys."""
        keys = [key for key in keys if _can_stand(key)]
        rows = self._transaction.fetch(
            FIND_CURRENT, room, generation, [key[0] for key in keys], [key[1] for key in keys]
        )
        return {(type, state_key): event for type, state_key, event in rows}

    def change_current(
        self, room: int, generation: int, position: int, changes: Sequence[tuple[int, int | None, int | None]]
    ) -> None:
        """Writes changes of the current state: (key, event before, event after)."""
        gone = [key for key, _, after in changes if after is None]
        standing = [(key, after) for key, _, after in changes if after is not None]
        if gone:
            self._transaction.defer(REMOVE_CURRENT, room, generation, gone)
        if standing:
            keys, events = (list(column) for column in zip(*standing, strict=True))
            self._transaction.defer(SET_CURRENT, room, generation, position, keys, events)
        if changes:
            numbers, before, after = (list(column) for column in zip(*changes, strict=True))
            self._transaction.defer(ADD_CHANGES, room, position, numbers, before, after)

    def add_change(self, room: int, position: int, key: int, before: int | None, after: int | None) -> None:
        """Notes a change in a room whose current state is not held: a membership from outside."""
        self._transaction.defer(ADD_CHANGES, room, position, [key], [before], [after])

    def list_changes(self, ranges: Mapping[int, tuple[int, int]]) -> dict[int, list[Changed]]:
        """By room: what changed with after < position <= upto. `ranges`: (after, upto) by room."""
        found: dict[int, list[Changed]] = {room: [] for room in ranges}
        if ranges:
            after, upto = zip(*ranges.values(), strict=True)
            for room, key, type, state_key, before, since in self._transaction.fetch(
                CHANGES, list(ranges), list(after), list(upto)
            ):
                found[room].append(Changed(key, (type, state_key), before, since))
        return found

    def list_rooms_changed(self, key: StateKey, after: int, upto: int, limit: int) -> list[tuple[int, int]]:
        """(position, room) of the first changes at `key` with after < position <= upto, in any room."""
        numbers = self.number_keys([key])
        if not numbers:
            return []
        rows = self._transaction.fetch(ROOMS_CHANGED, numbers[key], after, upto, limit)
        return [(position, room) for position, room in rows]

    def list_as_of(
        self,
        places: Mapping[int, tuple[int, int]],
        keys: Sequence[StateKey] | None = None,
        members: Iterable[str] | None = None,
    ) -> dict[int, dict[int, int]]:
        """The states of rooms, each as of a position: event number by key number, by room. `places`: (generation,
        position) by room; `keys`: all if None. `members`: other member events than those of these users may be left
        out, which spares much in large rooms."""
        states: dict[int, dict[int, int]] = {room: {} for room in places}
        if not places:
            return states
        rooms = list(places)
        generations = [generation for generation, _ in places.values()]
        positions = [position for _, position in places.values()]
        numbers = None if keys is None else list(self.number_keys(keys).values())
        statement, chosen = CURRENT_OF_ROOMS, numbers
        if members is not None:
            named = self.number_keys([("m.room.member", user_id) for user_id in members])
            statement, chosen = CURRENT_WITHOUT_MEMBERS, list(named.values())
        for room, key, event in self._transaction.fetch(statement, rooms, generations, chosen):
            states[room][key] = event
        for room, key, before in self._transaction.fetch(CHANGED_AFTER, rooms, positions, numbers):
            if before is None:
                states[room].pop(key, None)
            else:
                states[room][key] = before
        return states

    def as_of(self, room: int, generation: int, position: int) -> dict[int, int]:
        """The room's state as of a position: event number by key number."""
        rows = self._transaction.text(
            "SELECT key, event FROM current_state WHERE room = %s AND generation = %s", room, generation
        )
        state = dict((key, event) for key, event in rows)
        later = self._transaction.text(
            "SELECT DISTINCT ON (key) key, before FROM state_changes WHERE room = %s AND position > %s"
            " ORDER BY key, position",
            room,
            position,
        )
        for key, before in later:
            if before is None:
                state.pop(key, None)
            else:
                state[key] = before
        return state

    def find_merge(self, parents: Sequence[int]) -> int | None:
        """The group that resolving these groups gave."""
        rows = self._transaction.text(
            "SELECT state_group FROM state_merges WHERE parents = %s::bigint[]", sorted(parents)
        )
        return rows[0][0] if rows else None

    def add_merge(self, parents: Sequence[int], group: int) -> None:
        self._transaction.defer_text(
            "INSERT INTO state_merges (parents, state_group) VALUES (%s::bigint[], %s) ON CONFLICT DO NOTHING",
            sorted(parents),
            group,
        )

    def _chain(self, group: int) -> list[tuple[int, Layer]]:
        """From the cache; empty if part of it is missing."""
        chain: list[tuple[int, Layer]] = []
        number: int | None = group
        while number:
            layer = self._groups.get(number)
            if layer is None:
                return []
            chain.append((number, layer))
            number = layer.parent
        return chain

    def _load_chain(self, group: int) -> list[tuple[int, Layer]]:
        if not group:
            return []
        chain = self._chain(group)
        if not chain:
            layers = {
                number: Layer(parent, bytes(entries))
                for number, parent, entries in self._transaction.fetch(FIND_GROUPS, [group])
            }
            for number, layer in layers.items():
                self._groups.put(number, layer)
            beneath: int | None = group
            while beneath:
                chain.append((beneath, layers[beneath]))
                beneath = layers[beneath].parent
        return chain


def _columns(keys: Sequence[StateKey]) -> tuple[list[str], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys]


def _can_stand(key: StateKey) -> bool:
    """Not if U+0000 is in it: no text column can hold it, and no event with such a key is let in. What an event's
    content names may have it all the same."""
    return "\0" not in key[0] and "\0" not in key[1]
