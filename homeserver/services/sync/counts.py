"""Unread counts of one user, from ordinals and exceptions (architecture.md, section 7).

What cannot be had by a difference of ordinals (a class without a slot in the room) is counted by running the rules over
the events since the user read, at most MAX_RUN of them.
"""

from collections.abc import Collection, Sequence

from homeserver.domain.event import Event
from homeserver.domain.power import PowerLevels
from homeserver.domain.push_rules import EventView
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.push.rule_book import DEFAULT_CLASS, RuleBook
from homeserver.services.push.slots import MAX_CLASSES, Slots
from homeserver.services.viewer import ignored_users
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.counts import ONE_USER, CountBase
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

MAX_RUN = 1_000

# (notifications, highlights)
Counts = tuple[int, int]


class Unread:
    def __init__(self, rule_book: RuleBook, slots: Slots) -> None:
        self._rule_book = rule_book
        self._slots = slots

    def __call__(self, store: Store, user_id: str, rooms: Sequence[int]) -> dict[int, Counts]:
        """By room number, the newest values."""
        bases = [base for base in store.counts.list_bases(list(rooms), user_id)]
        counts: dict[int, Counts] = {base.room: (0, 0) for base in bases}
        behind = [base for base in bases if base.last_anchor > base.start]
        if not behind:
            return counts
        starts = {base.room: base.start for base in behind}
        history = store.counts.list_classes(user_id)
        ignored = ignored_users(store.account_data.find(user_id, GLOBAL, "m.ignored_user_list")) - {user_id}
        with_ignored = store.counts.list_spoken_in(starts, list(ignored))
        exceptions: dict[int, list[tuple[int, int, int]]] = {}
        for room, slot, notify, highlight in store.counts.list_exceptions(starts, user_id):
            exceptions.setdefault(room, []).append((slot, notify, highlight))
        for base in behind:
            name, since = class_in_room(history, base.room, base.last_anchor)
            slot = base.classes.index(name) if name in base.classes else len(base.classes)
            if since <= base.start and slot < len(base.ordinals_then) and base.room not in with_ignored:
                counts[base.room] = _by_difference(base, slot, exceptions.get(base.room, ()))
            else:
                counts[base.room] = self._by_running(store, user_id, base, history, ignored)
                if slot == len(base.classes) < MAX_CLASSES:
                    self._slots.wish(base.room_id, name)
        return counts

    def _by_running(
        self,
        store: Store,
        user_id: str,
        base: CountBase,
        history: Sequence[tuple[int, int, str]],
        ignored: Collection[str],
    ) -> Counts:
        """Each event by the rules and the power that held when it came: muting does not rewrite the past. Messages of
        ignored senders, which the user is not told of, do not count."""
        room = store.rooms.list_by_numbers([base.room])[0]
        rows = store.history.list_live(room.number, base.start, base.last_anchor, MAX_RUN)
        rows = [
            row for row in rows if row.redacted_by is None and (row.state_key is not None or row.sender not in ignored)
        ]
        events = store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, [row.number for row in rows])
        store.state.load_groups({row.state_before or 0 for row in rows})
        past = Past(store, room, user_id)
        notifications = highlights = 0
        for row in rows:
            event = events[row.number].event
            name, _ = class_in_room(history, base.room, row.anchor or 0)
            rules = self._rule_book.personal(store, user_id, name)
            power = past.power(row.state_before or 0)
            outcome = rules.evaluate(
                EventView(event), room.joined, power.of_user(event.sender), power.for_notification, past.display_name
            )
            notifications += outcome.notify
            highlights += outcome.highlight
        return notifications, highlights


class Past:
    """What rules ask of a room besides the event: the power levels at it, and how the user is called, now."""

    def __init__(self, store: Store, room: RoomRow, user_id: str) -> None:
        self._store = store
        self._room = room
        self._version = ROOM_VERSIONS[room.version]
        keys = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", user_id)]
        numbers = store.state.number_keys(keys)
        self._create, self._levels = numbers.get(keys[0], 0), numbers.get(keys[1], 0)
        self._powers: dict[tuple[int | None, int | None], PowerLevels] = {}
        member = self._event(store.state.find_current(room.number, room.state_generation, keys[2:]).get(keys[2]))
        name = None if member is None else member.content.get("displayname")
        self.display_name = name if isinstance(name, str) else None

    def power(self, group: int) -> PowerLevels:
        """As of a state group."""
        state = self._store.state
        standing = state.find_in_group(group, self._create), state.find_in_group(group, self._levels)
        if standing not in self._powers:
            create, levels = (self._event(number) for number in standing)
            self._powers[standing] = PowerLevels(self._version, create, levels)
        return self._powers[standing]

    def _event(self, number: int | None) -> Event | None:
        if number is None:
            return None
        return self._store.events.list_stored(self._version, self._room.room_id, [number])[number].event


def class_in_room(history: Sequence[tuple[int, int, str]], room: int, at: int) -> tuple[str, int]:
    """The user's class in a room at a position, and since when, from the (room or 0, position, class) rows of the
    user, oldest first. A row for all rooms ends what earlier rows said of single ones."""
    standing: dict[int, str] = {}
    for where, position, name in history:
        if where in (0, room) and position <= at:
            standing[position] = name
    current, since = DEFAULT_CLASS, 0
    for position, name in standing.items():
        if name != current:
            current, since = name, position
    return current, since


def _by_difference(base: CountBase, slot: int, exceptions: Sequence[tuple[int, int, int]]) -> Counts:
    then = base.ordinals_then[slot] if slot < len(base.ordinals_then) else 0
    now = base.ordinals[slot] if slot < len(base.ordinals) else 0
    notifications, highlights = now - then, 0
    for which, notify, highlight in exceptions:
        if which in (slot, ONE_USER):
            notifications += notify
            highlights += highlight
    return max(0, notifications), max(0, highlights)
