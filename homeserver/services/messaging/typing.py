"""Who is typing: in memory only, published through the one counter.

A server that stops in good order writes down since when each room is silent, so that after the restart clients are told
of just those rooms. After a crash everybody is told of every room, once.

https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

import asyncio
from dataclasses import dataclass, field

from homeserver.services.access import joined_room
from homeserver.services.persistence import Persistence
from homeserver.storage.silences import EVERYWHERE
from homeserver.storage.store import Store
from homeserver.streams.keys import room_key
from homeserver.streams.positions import Positions
from homeserver.streams.publications import Publication, TypingItem
from homeserver.streams.publisher import Publisher

MAX_SECONDS = 120.0
MAX_PER_ROOM = 500
MAX_ROOMS = 20_000
# Rooms that are written down at the end.
MAX_SILENCES = 5_000


@dataclass(slots=True)
class _Room:
    room_id: str
    position: int = 0
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)


class Typing:
    """Lives on the loop. Bounded: rooms where nobody types are forgotten when there are many."""

    def __init__(self, database: Persistence, positions: Positions, publisher: Publisher) -> None:
        self._database = database
        self._positions = positions
        self._publisher = publisher
        self._rooms: dict[int, _Room] = {}
        # Whoever synced before this process began may still see somebody typing.
        self._began = positions.current()

    async def set(self, user_id: str, room_id: str, seconds: float) -> None:
        """The user types for `seconds` from now; 0: stops. Raises Forbidden if the user is not in the room."""
        row = await self._database.read(lambda store: joined_room(store, user_id, room_id))
        self.set_in_room(row.number, room_id, user_id, min(seconds, MAX_SECONDS))

    def set_in_room(self, number: int, room_id: str, user_id: str, seconds: float) -> None:
        """As `set`, of somebody who is known to be in the room."""
        room = self._rooms.get(number)
        timer = None if room is None else room.timers.pop(user_id, None)
        if timer is not None:
            timer.cancel()
        if seconds > 0:
            if room is None:
                self._make_room()
                room = self._rooms[number] = _Room(room_id)
            if len(room.timers) >= MAX_PER_ROOM:
                return
            loop = asyncio.get_running_loop()
            room.timers[user_id] = loop.call_later(seconds, self.set_in_room, number, room_id, user_id, 0.0)
        if room is not None and (timer is None) == (seconds > 0):
            self._publish(number, room)

    def changed(self, room: int, after: int, upto: int) -> tuple[str, ...] | None:
        """Who types in a room, if that changed after a position; None if it did not."""
        known = self._rooms.get(room)
        if known is not None and after < known.position <= upto:
            return tuple(sorted(known.timers))
        return () if known is None and after < self._began else None

    @property
    def lost_before(self) -> int:
        """Whoever synced before this position may see somebody typing in any room that `changed` does not know."""
        return self._began

    async def resume(self) -> list[Publication]:
        """Goes on where the process before stopped; what that published of silent rooms. At a start, once."""

        def work(store: Store) -> tuple[dict[int, int], dict[int, str]]:
            silences = store.silences.take()
            return silences, {row.number: row.room_id for row in store.rooms.list_by_numbers(list(silences))}

        silences, room_ids = await self._database.write(work)
        if EVERYWHERE in silences:
            self._began = silences[EVERYWHERE]
            self._rooms = {room: _Room(room_id, silences[room]) for room, room_id in room_ids.items()}
        return [
            Publication(room.position, (room_key(number),), TypingItem(number, room.room_id, ()))
            for number, room in self._rooms.items()
        ]

    async def close(self) -> None:
        """Nobody types any more; writes down for the next process who must hear of it. Raises Unavailable."""
        self.stop()
        for number, room in self._rooms.items():
            if room.timers:
                room.timers.clear()
                self._publish(number, room)
        newest = sorted(self._rooms, key=lambda number: -self._rooms[number].position)
        began = max((self._rooms[number].position for number in newest[MAX_SILENCES:]), default=0)
        silences = {number: self._rooms[number].position for number in newest[:MAX_SILENCES]}
        silences[EVERYWHERE] = max(self._began, began)
        await self._database.write(lambda store: store.silences.put(silences))

    def _make_room(self) -> None:
        """Forgets the rooms that are silent if there are many: whoever synced before is told of silence once more."""
        if len(self._rooms) >= MAX_ROOMS:
            silent = [number for number, room in self._rooms.items() if not room.timers]
            self._began = max((self._rooms[number].position for number in silent), default=self._began)
            for number in silent:
                del self._rooms[number]

    def _publish(self, number: int, room: _Room) -> None:
        position = room.position = self._positions.take()
        item = TypingItem(number, room.room_id, tuple(sorted(room.timers)))
        self._publisher.committed([position], [Publication(position, (room_key(number),), item)])

    def stop(self) -> None:
        """Cancels every timer."""
        for room in self._rooms.values():
            for timer in room.timers.values():
                timer.cancel()
