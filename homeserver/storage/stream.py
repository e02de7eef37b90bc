"""The stream of events, as followers read it: implements `homeserver.streams.follower.Source`."""

from collections.abc import Callable, Sequence

from homeserver.domain.event import StateKey
from homeserver.storage.database import Database
from homeserver.storage.events import EventRow
from homeserver.storage.store import Store


class FollowersCursors:
    """How far followers have acted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_cursor(self, name: str) -> int | None:
        """Up to where the follower has acted; None if it never ran."""
        return await self._database.read(lambda store: store.cursors.find(name), single=True)

    async def save_cursor(self, name: str, position: int) -> None:
        """It has acted upon everything up to `position`."""
        await self._database.write(lambda store: store.cursors.set(name, position))


class EventStream(FollowersCursors):
    """The live events of all rooms in the order of their positions."""

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, EventRow]]:
        """(position, event) with after < position <= upto, the first `limit` of them."""
        rows = await self._database.read(lambda store: store.history.list_by_position(after, upto, limit), single=True)
        return [(row.position, row) for row in rows if row.position is not None]


class StateStream(FollowersCursors):
    """The rooms whose current state changed at one key, by number, in the order of the changes."""

    def __init__(self, database: Database, key: StateKey) -> None:
        super().__init__(database)
        self._key = key

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, int]]:
        """(position, room) with after < position <= upto, the first `limit` of them."""
        return await self._database.read(lambda store: store.state.list_rooms_changed(self._key, after, upto, limit))


class WholeStream(EventStream):
    """As EventStream, with the events that were fetched to fill gaps: for those who want everything that is there."""

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, EventRow]]:
        """As there, and what shares the position of the last one."""
        return await self._list(lambda store: store.history.list_with_back_filled(after, upto, limit))

    async def list_before(self, before: int, limit: int) -> Sequence[tuple[int, EventRow]]:
        """The same below a position, newest first."""
        return await self._list(lambda store: store.history.list_before_position(before, limit))

    async def _list(self, work: Callable[[Store], list[EventRow]]) -> Sequence[tuple[int, EventRow]]:
        rows = await self._database.read(work, single=True)
        return [(row.position, row) for row in rows if row.position is not None]
