"""Tells of people's presence: all that changed within about a second, in one write.

A change is told in the rooms that the user shares with others, the smallest first: rooms of at most MAX_MEMBERS
members, as many as have MAX_WATCHERS members together. So nobody's coming and going wakes more clients than that, and a
room of ten thousand none at all. The same rooms say which other servers are told.
https://spec.matrix.org/v1.19/client-server-api/#presence
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.domain.presence import OFFLINE, Devices, PresenceState, content_of
from homeserver.ports import Clock
from homeserver.services.messaging.roster import Person, Roster
from homeserver.services.persistence import Persistence
from homeserver.storage.presence import PresenceRoom, PresenceRow
from homeserver.storage.store import Store
from homeserver.streams.keys import room_key
from homeserver.streams.publications import PresenceItem

MAX_MEMBERS = 200
MAX_WATCHERS = 1_000
MAX_ROOMS = 200
# Updates in one call of a listener.
MAX_UPDATES = 100

# (entries of `push` of m.presence, servers). `federation.outbound.outbox.Outbox.send_presence` is one.
Listener = Callable[[Sequence[Mapping[str, Any]], Collection[str]], None]


@dataclass(frozen=True, slots=True)
class _Look:
    """Somebody as of the beginning of a round. `position`: 0 if nothing was told before. `resend`: other servers
    are told although nothing changed."""

    person: Person
    user_id: str
    now: PresenceState
    told: PresenceState
    rooms: tuple[int, ...]
    last_active: int
    ours: bool
    position: int
    resend: bool

    def is_news(self, rooms: tuple[int, ...]) -> bool:
        """Whether it is told, in these rooms. A room that is new to somebody has not heard anything yet."""
        if not rooms and not self.ours:
            return False
        return self.now != self.told or (self.position > 0 and not set(rooms) <= set(self.rooms))

    def is_moved(self, rooms: tuple[int, ...]) -> bool:
        """Whether what was told holds in these rooms only, without another word."""
        return self.position > 0 and bool(rooms or self.ours) and rooms != self.rooms

    def row(self, told: PresenceState, position: int, rooms: tuple[int, ...]) -> PresenceRow:
        active, status = told.currently_active, told.status_msg
        return PresenceRow(self.user_id, told.presence, active, status, self.last_active, position, rooms)


@dataclass(frozen=True, slots=True)
class _Round:
    """What a round found: the rooms of everybody, who is in the rooms that were asked about, and other servers."""

    rooms: Mapping[str, tuple[int, ...]]
    members: set[str]
    news: set[str]
    servers: Mapping[int, Sequence[str]]


class PresenceRounds:
    """Lives on the loop. One round at a time."""

    def __init__(self, database: Persistence, roster: Roster, clock: Clock) -> None:
        self._database = database
        self._roster = roster
        self._clock = clock
        self._listeners: list[Listener] = []
        self._lock = asyncio.Lock()

    def listen(self, listener: Listener) -> None:
        """`listener` is called with what other servers are to hear of our users. It must be quick."""
        self._listeners.append(listener)

    @property
    def is_heard(self) -> bool:
        """Whether anybody tells other servers."""
        return bool(self._listeners)

    async def tell(self, people: Sequence[Person], resend: Collection[str], entered: Collection[int]) -> list[Person]:
        """Tells what changed of `people`, and other servers of `resend` again. Returns those whom a user of ours meets
        in the rooms `entered`, in which nobody had been told of them. Raises Unavailable."""
        async with self._lock:
            now = self._clock.now_ms()
            looks = [_look(person, now, person.user_id in resend) for person in people]
            forgotten = self._roster.take_forgotten()
            found = await self._database.write(lambda store: self._write(store, looks, entered, forgotten))
            for look in looks:
                self._settle(look, found.rooms[look.user_id], look.user_id in found.news)
            self._send(looks, found, now)
            met = (self._roster.find(user_id) for user_id in found.members)
            return [person for person in met if person is not None and not set(entered) <= set(person.rooms)]

    def _write(
        self, store: Store, looks: Sequence[_Look], entered: Collection[int], forgotten: Sequence[str]
    ) -> _Round:
        listed = store.presence.list_rooms([look.user_id for look in looks], MAX_MEMBERS, MAX_ROOMS)
        rooms = {user_id: _choose(found) for user_id, found in listed.items()}
        members = store.presence.list_members(entered, MAX_MEMBERS)
        news = [look for look in looks if look.is_news(rooms[look.user_id])]
        ids = {look.user_id for look in news}
        abroad = {
            room for look in looks if look.ours and (look.resend or look.user_id in ids) for room in rooms[look.user_id]
        }
        servers = store.room_servers.list_now(abroad) if self._listeners else {}
        moved = [look for look in looks if look.user_id not in ids and look.is_moved(rooms[look.user_id])]
        store.presence.remove(forgotten)
        store.presence.put(look.row(look.told, look.position, rooms[look.user_id]) for look in moved)
        if news:
            position = store.take_position()
            store.presence.put(look.row(look.now, position, rooms[look.user_id]) for look in news)
            for one in news:
                item = _item(one.user_id, one.now, rooms[one.user_id])
                store.publish(position, map(room_key, item.rooms), item)
        return _Round(rooms, members, ids, servers)

    def _settle(self, look: _Look, rooms: tuple[int, ...], told: bool) -> None:
        """What was told is known by its publication; here the rest."""
        person = look.person
        if not rooms and not look.ours:
            self._roster.forget(person)  # shares no room with us
        elif not told and person is self._roster.find(look.user_id):
            self._roster.place(person, rooms)

    def _send(self, looks: Iterable[_Look], found: _Round, now: int) -> None:
        groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for look in looks:
            if look.ours and (look.resend or look.user_id in found.news):
                look.person.sent = now
                rooms = found.rooms[look.user_id]
                servers = tuple(sorted({server for room in rooms for server in found.servers.get(room, ())}))
                if servers:
                    groups.setdefault(servers, []).append(_update(look.user_id, look.now, look.last_active, now))
        for servers, updates in groups.items():
            self._tell_servers(updates, servers)

    def greet(self, room: int, server: str) -> None:
        """Tells a server that came into a room who of us is there."""
        now = self._clock.now_ms()
        people = self._roster.list_in([room], 2**63 - 1)
        here = [one for one in people if isinstance(one.source, Devices) and one.told.presence != OFFLINE]
        updates = [_update(one.user_id, one.told, one.source.last_active, now) for one in here]
        self._tell_servers(updates, [server])

    def _tell_servers(self, updates: Sequence[Mapping[str, Any]], servers: Collection[str]) -> None:
        for start in range(0, len(updates), MAX_UPDATES):
            for listener in self._listeners:
                listener(updates[start : start + MAX_UPDATES], servers)

    async def load(self) -> list[tuple[PresenceRow, PresenceItem]]:
        """What was told of everybody when the process before this one ended, by position."""
        rows = await self._database.read_long(lambda store: store.presence.list_all())
        return [(row, _item(row.user_id, state_of(row), tuple(row.rooms))) for row in rows]


def state_of(row: PresenceRow) -> PresenceState:
    return PresenceState(row.presence, row.currently_active, row.status_msg)


def _look(person: Person, now: int, resend: bool) -> _Look:
    source = person.source
    return _Look(
        person=person,
        user_id=person.user_id,
        now=source.at(now),
        told=person.told,
        rooms=person.rooms,
        last_active=source.last_active,
        ours=isinstance(source, Devices),
        position=person.position,
        resend=resend,
    )


def _choose(rooms: Iterable[PresenceRoom]) -> tuple[int, ...]:
    """The smallest ones, as long as there are not too many people in them."""
    chosen: list[int] = []
    watchers = 0
    for room in rooms:
        watchers += room.joined
        if watchers > MAX_WATCHERS:
            break
        chosen.append(room.number)
    return tuple(chosen)


def _item(user_id: str, presence: PresenceState, rooms: tuple[int, ...]) -> PresenceItem:
    return PresenceItem(user_id, presence.presence, presence.currently_active, presence.status_msg, rooms)


def _update(user_id: str, presence: PresenceState, last_active: int, now: int) -> Mapping[str, Any]:
    """As other servers are told. They must be told when a user was active last, be it never."""
    return {"last_active_ago": 0, **content_of(presence, last_active, now), "user_id": user_id}
