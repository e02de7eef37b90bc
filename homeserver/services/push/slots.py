"""Rooms give slots to classes of push rules, so that unread counts of their users are differences of ordinals.

Whoever counts for a user whose class has no slot in a room wishes for one; the wishes are granted later, in writes of
their own, as long as the room has less than MAX_CLASSES. From then on the room's events carry its ordinals.
"""

import threading

from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

MAX_CLASSES = 8
MAX_WISHES = 10_000


class Slots:
    """`wish` may be called from any thread."""

    def __init__(self, database: Persistence) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._wishes: dict[tuple[str, str], None] = {}

    def wish(self, room_id: str, name: str) -> None:
        with self._lock:
            if len(self._wishes) < MAX_WISHES:
                self._wishes[(room_id, name)] = None

    async def grant(self) -> None:
        """Grants all wishes that there are."""
        with self._lock:
            wishes, self._wishes = list(self._wishes), {}
        for room_id, name in wishes:
            await self._grant(room_id, name)

    async def _grant(self, room_id: str, name: str) -> None:
        def work(store: Store) -> None:
            room = store.rooms.lock(room_id)
            if name not in room.classes and len(room.classes) < MAX_CLASSES:
                store.rooms.set_classes(room.number, [*room.classes, name], [*room.ordinals, 0])

        await self._database.write(work, room=room_id)
