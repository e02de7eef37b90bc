"""A room whose row is locked, as one transaction sees and changes it.

Its current state is read key by key and remembered between transactions in a `Head`, which is valid only for the
`state_version` that the row tells: so any process may write to any room.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from homeserver.domain.authorization.selection import CREATE, POWER_LEVELS
from homeserver.domain.errors import BrokenInvariant
from homeserver.domain.event import Event, StateKey
from homeserver.domain.power import PowerLevels
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

MAX_HEADS = 5_000
MAX_KEYS = 500


class Head:
    """What is known of a room's current state at one state version: event number by key, None where nothing stands."""

    __slots__ = ("events", "power", "state_version")

    def __init__(self, state_version: int, events: dict[StateKey, int | None]) -> None:
        self.state_version = state_version
        self.events = events
        self.power: PowerLevels | None = None


class Heads:
    """The heads of the rooms that were written to last. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heads: OrderedDict[int, Head] = OrderedDict()

    def get(self, room: int, state_version: int) -> Head:
        with self._lock:
            head = self._heads.get(room)
            if head is None or head.state_version != state_version or len(head.events) > MAX_KEYS:
                head = self._heads[room] = Head(state_version, {})
            self._heads.move_to_end(room)
            if len(self._heads) > MAX_HEADS:
                self._heads.popitem(last=False)
            return head

    def put(self, room: int, head: Head) -> None:
        with self._lock:
            self._heads[room] = head


class LockedRoom:
    """Reads through; changes are kept here until `save`."""

    def __init__(self, store: Store, row: RoomRow, heads: Heads) -> None:
        self.store = store
        self.row = row
        self.version: RoomVersion = ROOM_VERSIONS[row.version]
        self._heads = heads
        self._head = heads.get(row.number, row.state_version)
        self._changed: dict[StateKey, int | None] = {}
        self._events: dict[int, StoredEvent] = {}
        # A room that was just made has no state in the tables.
        self._empty = row.state_group == 0
        self._state_moved = False
        self._power: PowerLevels | None = None

    def prefetch(self, keys: Collection[StateKey]) -> None:
        """Loads the state at `keys` in as few queries as it takes."""
        unknown = [key for key in keys if key not in self._changed and key not in self._head.events]
        if unknown:
            found: dict[StateKey, int] = {}
            if not self._empty:
                found = self.store.state.find_current(self.row.number, self.row.state_generation, unknown)
            for key in unknown:
                self._head.events[key] = found.get(key)
        self._load(number for key in keys if (number := self._number_at(key)) is not None)

    def find(self, key: StateKey) -> StoredEvent | None:
        """The event that stands at `key` now."""
        if key not in self._changed and key not in self._head.events:
            self.prefetch([key])
        number = self._number_at(key)
        if number is None:
            return None
        if number not in self._events:
            self._load([number])
        return self._events[number]

    def lookup(self, key: StateKey) -> Event | None:
        """As `find`, the bare event: what the rules ask."""
        stored = self.find(key)
        return None if stored is None else stored.event

    def membership(self, user_id: str) -> str | None:
        event = self.lookup(("m.room.member", user_id))
        return None if event is None else event.content.get("membership")

    @property
    def power(self) -> PowerLevels:
        """The power levels of now."""
        if self._power is None:
            power = None if self._changed else self._head.power
            if power is None:
                self.prefetch([CREATE, POWER_LEVELS])
                power = PowerLevels(self.version, self.lookup(CREATE), self.lookup(POWER_LEVELS))
                if not self._changed:
                    self._head.power = power
            self._power = power
        return self._power

    def add_event(self, stored: StoredEvent) -> None:
        """An event that this transaction made."""
        self._events[stored.number] = stored
        self.store.events.remember(stored)

    def place_event(self, stored: StoredEvent) -> None:
        """An event that was held as an outlier, and gets its place in this transaction."""
        self._events[stored.number] = stored
        self.store.events.forget(stored.number)
        self.store.after_commit.append(lambda: self.store.events.remember(stored))

    def drop_event(self, number: int) -> None:
        """Its content was taken away: what is remembered of it is old, also of the power levels if it set them."""
        self._power = self._head.power = None
        self._forget(number)

    def link_event(self, number: int, prev: Sequence[int]) -> None:
        """More of what it follows is held than when it came: all of that is `prev`."""
        self.store.events.link(number, prev)
        self._forget(number)

    def events(self, numbers: Iterable[int]) -> dict[int, StoredEvent]:
        """Events by number, loaded as far as they are not here."""
        wanted = list(numbers)
        self._load(wanted)
        return {number: self._events[number] for number in wanted}

    def current_by_id(self, event_ids: Iterable[str]) -> list[StoredEvent]:
        """Those of `event_ids` that are at hand already."""
        wanted = set(event_ids)
        return [stored for stored in self._events.values() if stored.event.event_id in wanted]

    def move_state(self, group: int, changes: dict[StateKey, int | None]) -> None:
        """The current state is now `group`; `changes` are the keys that differ from before."""
        self._changed.update(changes)
        self._power = None
        self.row = replace(
            self.row,
            state_group=group,
            state_version=self.row.state_version + (0 if self._state_moved else 1),
        )
        self._state_moved = True

    def save(self) -> None:
        """Writes the row: once, after the last event of the transaction."""
        if not self._state_moved:
            self.store.rooms.set_place(self.row)
        else:
            self.store.rooms.set_place_and_state(self.row)
            head = Head(self.row.state_version, {**self._head.events, **self._changed})
            self.store.after_commit.append(lambda: self._heads.put(self.row.number, head))

    def _forget(self, number: int) -> None:
        self._events.pop(number, None)
        self.store.after_commit.append(lambda: self.store.events.forget(number))

    def _number_at(self, key: StateKey) -> int | None:
        return self._changed[key] if key in self._changed else self._head.events[key]

    def _load(self, numbers: Iterable[int]) -> None:
        missing = [number for number in numbers if number not in self._events]
        if missing:
            found = self.store.events.list_stored(self.version, self.row.room_id, missing)
            self._events.update(found)
            if len(found) < len(set(missing)):
                raise BrokenInvariant(f"room {self.row.room_id} refers to events that are not there")
