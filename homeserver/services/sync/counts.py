"""Unread counts of one user, from ordinals and exceptions (architecture.md, section 7).

What cannot be had by a difference of ordinals (a class without a slot in the room) is counted by running the rules over
the events since the user read, at most MAX_RUN of them.
"""

from collections.abc import Sequence

from homeserver.domain.power import PowerLevels
from homeserver.domain.push_rules import EventView
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.push.rule_book import DEFAULT_CLASS, RuleBook
from homeserver.services.push.slots import MAX_CLASSES, Slots
from homeserver.storage.counts import ONE_USER, CountBase
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
        history = store.counts.list_classes(user_id)
        exceptions: dict[int, list[tuple[int, int, int]]] = {}
        for room, slot, notify, highlight in store.counts.list_exceptions(
            {base.room: base.start for base in behind}, user_id
        ):
            exceptions.setdefault(room, []).append((slot, notify, highlight))
        for base in behind:
            name, since = class_in_room(history, base.room, base.last_anchor)
            slot = base.classes.index(name) if name in base.classes else len(base.classes)
            if since <= base.start and slot < len(base.ordinals_then):
                counts[base.room] = _by_difference(base, slot, exceptions.get(base.room, ()))
            else:
                counts[base.room] = self._by_running(store, user_id, base, history)
                if slot == len(base.classes) < MAX_CLASSES:
                    self._slots.wish(base.room_id, name)
        return counts

    def _by_running(
        self, store: Store, user_id: str, base: CountBase, history: Sequence[tuple[int, int, str]]
    ) -> Counts:
        """Each event by the rules that held when it came: muting does not rewrite the past."""
        room = store.rooms.list_by_numbers([base.room])[0]
        version = ROOM_VERSIONS[room.version]
        keys = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", user_id)]
        standing = store.state.find_current(room.number, room.state_generation, keys)
        stored = store.events.list_stored(version, room.room_id, standing.values())
        create, levels, member = (stored[standing[key]].event if key in standing else None for key in keys)
        power = PowerLevels(version, create, levels)
        display = None if member is None else member.content.get("displayname")
        rows = store.history.list_live(room.number, base.start, base.last_anchor, MAX_RUN)
        notifications = highlights = 0
        events = store.events.list_stored(version, room.room_id, [row.number for row in rows])
        for row in rows:
            if row.redacted_by is not None:
                continue
            one = events[row.number]
            name, _ = class_in_room(history, base.room, row.anchor or 0)
            rules = self._rule_book.personal(store, user_id, name)
            outcome = rules.evaluate(
                EventView(one.event), room.joined, power.of_user(one.event.sender), power.for_notification,
                display if isinstance(display, str) else None,
            )  # fmt: skip
            notifications += outcome.notify
            highlights += outcome.highlight
        return notifications, highlights


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
