"""Unread counts of one user, from ordinals and exceptions (architecture.md, section 7).

A room's main timeline and each of its threads count on their own. What cannot be had by a difference of ordinals (a
class without a slot in the room) is counted by running the rules over the events since the user read, at most MAX_RUN
of them.
https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

from homeserver.domain.event import Event
from homeserver.domain.power import PowerLevels
from homeserver.domain.push_conditions import EventView
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.push.rule_book import DEFAULT_CLASS, RuleBook
from homeserver.services.push.slots import MAX_CLASSES, Slots
from homeserver.services.viewer import ignored_users
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.counts import MAIN, ONE_USER, CountBase
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

MAX_RUN = 1_000

# (notifications, highlights)
Counts = tuple[int, int]
NOTHING: Counts = (0, 0)
# (slot, notifications, highlights)
Exceptions = Sequence[tuple[int, int, int]]


_NO_THREADS: Mapping[str, Counts] = MappingProxyType({})


class RoomCounts(NamedTuple):
    """Of the main timeline, and by root of each thread in which something is unread."""

    main: Counts = NOTHING
    threads: Mapping[str, Counts] = _NO_THREADS

    @property
    def total(self) -> Counts:
        """For clients that know no threads."""
        if not self.threads:
            return self.main
        counts = (self.main, *self.threads.values())
        return sum(one[0] for one in counts), sum(one[1] for one in counts)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is unread of a room's main timeline, or of a thread: events with start < anchor <= end. `ordinals`: now, and
    as of the start; `slots`: how many classes the room had there."""

    room: CountBase
    thread: str
    start: int
    end: int
    ordinals: Sequence[int]
    ordinals_then: Sequence[int]
    slots: int

    @property
    def key(self) -> tuple[int, str]:
        return self.room.room, self.thread


class Known(Protocol):
    """What counting needs of a user besides the rooms: the classes of push rules, oldest first, and who is ignored."""

    @property
    def classes(self) -> Sequence[tuple[int, int, str]]: ...
    @property
    def ignored(self) -> frozenset[str]: ...


class Unread:
    def __init__(self, rule_book: RuleBook, slots: Slots) -> None:
        self._rule_book = rule_book
        self._slots = slots

    def __call__(
        self, store: Store, user_id: str, rooms: Sequence[int], known: Known | None = None
    ) -> dict[int, RoomCounts]:
        """By room number, the newest values. `known`: of the user, if that was read already."""
        bases = {base.room: base for base in store.counts.list_bases(list(rooms), user_id)}
        parts = _parts(store, user_id, bases)
        if not parts:
            return {room: RoomCounts() for room in bases}
        if known is not None:
            history, ignored = known.classes, known.ignored
        else:
            history = store.counts.list_classes(user_id)
            ignored = ignored_users(store.account_data.find(user_id, GLOBAL, "m.ignored_user_list")) - {user_id}
        with_ignored = _spoken_in(store, parts, list(ignored))
        exceptions: dict[tuple[int, str], list[tuple[int, int, int]]] = {}
        starts = {part.key: part.start for part in parts}
        for room, thread, slot, notify, highlight in store.counts.list_exceptions(starts, user_id):
            exceptions.setdefault((room, thread), []).append((slot, notify, highlight))
        found: dict[int, dict[str, Counts]] = {room: {} for room in bases}
        for part in parts:
            base = part.room
            name, since = class_in_room(history, base.room, base.last_anchor)
            slot = base.classes.index(name) if name in base.classes else len(base.classes)
            if since <= part.start and slot < part.slots and part.key not in with_ignored:
                counts = _by_difference(part, slot, exceptions.get(part.key, ()))
            else:
                counts = self._by_running(store, user_id, part, history, ignored)
                if slot == len(base.classes) < MAX_CLASSES:
                    self._slots.wish(base.room_id, name)
            found[base.room][part.thread] = counts
        return {room: _room_counts(counts) for room, counts in found.items()}

    def _by_running(
        self,
        store: Store,
        user_id: str,
        part: _Part,
        history: Sequence[tuple[int, int, str]],
        ignored: Collection[str],
    ) -> Counts:
        """Each event by the rules and the power that held when it came: muting does not rewrite the past. Messages of
        ignored senders, which the user is not told of, do not count."""
        room = store.rooms.list_by_numbers([part.room.room])[0]
        if part.thread == MAIN:
            numbers = store.counts.list_main_events(room.number, part.start, part.end, MAX_RUN)
        else:
            numbers = store.threads.list_events(room.number, part.thread, part.start, MAX_RUN)
        rows = [
            row
            for row in store.events.list_by_numbers(numbers).values()
            if row.redacted_by is None and (row.state_key is not None or row.sender not in ignored)
        ]
        events = store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, [row.number for row in rows])
        store.state.load_groups({row.state_before or 0 for row in rows})
        past = Past(store, room, user_id)
        notifications = highlights = 0
        for row in rows:
            event = events[row.number].event
            name, _ = class_in_room(history, room.number, row.anchor or 0)
            rules = self._rule_book.personal(store, user_id, name)
            power = past.power(row.state_before or 0)
            outcome = rules.evaluate(
                EventView(event), room.joined, power.of_user(event.sender), power.for_notification, past.display_name
            )
            notifications += outcome.notify
            highlights += outcome.highlight
        return notifications, highlights


def _parts(store: Store, user_id: str, bases: Mapping[int, CountBase]) -> list[_Part]:
    """The timelines in which anything came since the user read."""
    parts = [
        _Part(base, MAIN, base.start, base.last_anchor, base.ordinals, base.ordinals_then, len(base.ordinals_then))
        for base in bases.values()
        if base.last_anchor > base.start
    ]
    behind = {room: base.base for room, base in bases.items() if base.last_anchor > base.base}
    for one in store.threads.list_bases(behind, user_id):
        room = bases[one.room]
        parts.append(_Part(room, one.root, one.start, one.last_anchor, one.ordinals, one.ordinals_then, one.slots))
    return parts


def _spoken_in(store: Store, parts: Sequence[_Part], senders: list[str]) -> set[tuple[int, str]]:
    """The keys of those parts in which one of `senders` said something."""
    main = {part.room.room: part.start for part in parts if part.thread == MAIN}
    threads = {part.key: part.start for part in parts if part.thread != MAIN}
    spoken = {(room, MAIN) for room in store.counts.list_spoken_in(main, senders)}
    return spoken | store.threads.list_spoken_in(threads, senders)


def _room_counts(counts: Mapping[str, Counts]) -> RoomCounts:
    threads = {thread: one for thread, one in counts.items() if thread != MAIN and one != NOTHING}
    return RoomCounts(counts.get(MAIN, NOTHING), threads)


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


def _by_difference(part: _Part, slot: int, exceptions: Exceptions) -> Counts:
    then = part.ordinals_then[slot] if slot < len(part.ordinals_then) else 0
    now = part.ordinals[slot] if slot < len(part.ordinals) else 0
    notifications, highlights = now - then, 0
    for which, notify, highlight in exceptions:
        if which in (slot, ONE_USER):
            notifications += notify
            highlights += highlight
    return max(0, notifications), max(0, highlights)
