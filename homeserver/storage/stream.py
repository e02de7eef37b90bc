"""The stream of events, as followers read it: implements `homeserver.streams.follower.Source`."""

from collections.abc import Sequence

from homeserver.storage.database import Database
from homeserver.storage.events import EventRow


class EventStream:
    """The live events of all rooms in the order of their positions, and the followers' cursors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, EventRow]]:
        """(position, event) with after < position <= upto, the first `limit` of them."""
        rows = await self._database.read(lambda store: store.history.list_by_position(after, upto, limit), single=True)
        return [(row.position, row) for row in rows if row.position is not None]

    async def find_cursor(self, name: str) -> int | None:
        """Up to where the follower has acted; None if it never ran."""
        return await self._database.read(lambda store: store.cursors.find(name), single=True)

    async def save_cursor(self, name: str, position: int) -> None:
        """It has acted upon everything up to `position`."""
        await self._database.write(lambda store: store.cursors.set(name, position))
