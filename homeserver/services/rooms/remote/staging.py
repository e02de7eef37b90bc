"""Events that other servers sent and that cannot be let in yet, because what they follow is not here.

They are kept in a table from the moment on that their sender is told that we have them, until they are in their room or
nobody can tell what is missing. So a slow room holds up no transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.domain.canonical import canonical_json, parse_json
from homeserver.domain.event import Event, read_event
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.persistence import Persistence
from homeserver.storage.staged import StagedPdu
from homeserver.storage.store import Store

# So many events wait for one room; further ones are refused, and come again as what later ones follow.
MAX_PER_ROOM = 2_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that waits, who sent it, and how often it was tried in vain to get what it follows."""

    event: Event
    origin: str
    tries: int


class Staging:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def add(self, room_id: str, origin: str, events: Sequence[Event]) -> int:
        """How many of these, from the first on, wait now; the others found no room."""

        def work(store: Store) -> int:
            free = MAX_PER_ROOM - store.staged.count(room_id, MAX_PER_ROOM)
            for event in events[:free]:
                text = canonical_json(event.pdu, checked=True).decode()
                store.staged.add(room_id, StagedPdu(store.take_number(), event.event_id, origin, text, 0))
            return min(free, len(events))

        return await self._database.write(work)

    async def rooms(self) -> list[str]:
        """The rooms for which something waits."""
        return await self._database.read(lambda store: store.staged.list_rooms(), single=True)

    async def first(self, room_id: str, limit: int) -> list[Waiting]:
        """What waits for a room, in the order of arrival. Raises NotFound."""

        def work(store: Store) -> list[Waiting]:
            version = ROOM_VERSIONS[store.rooms.get(room_id).version]
            rows = store.staged.list_first(room_id, limit)
            return [
                Waiting(
                    read_event(version, row.event_id, parse_json(row.pdu.encode(), strict=False), room_id),
                    row.origin,
                    row.tries,
                )
                for row in rows
            ]

        return await self._database.read(work)

    async def note_try(self, event_id: str) -> None:
        """What it follows could not be had this time."""
        await self._database.write(lambda store: store.staged.note_try(event_id))

    async def remove(self, event_ids: Sequence[str]) -> None:
        """They wait no more."""
        await self._database.write(lambda store: store.staged.remove(event_ids))
