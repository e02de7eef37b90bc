"""Reads viewpoints from the tables: alone for a user who comes alone, together for users who come together.

After a restart thousands come back within seconds, and each needs one before it is live again. While one read is under
way whoever else comes waits, and the next read is for all of them.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from homeserver.services.persistence import Persistence
from homeserver.services.sync.live import Viewpoint
from homeserver.services.viewer import ignored_users
from homeserver.storage.viewpoints import ViewpointRow
from homeserver.streams.publisher import Publisher

MOST_TOGETHER = 100

_NOBODY: frozenset[str] = frozenset()

# With the position of which it is at least.
_Found = tuple[Viewpoint, int]
_Asking = tuple[str, asyncio.Future[_Found]]
_Reading = asyncio.Future[dict[str, ViewpointRow]]


class Viewpoints:
    """Lives on the loop."""

    def __init__(self, database: Persistence, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher
        self._asking: list[_Asking] = []
        self._reading: _Reading | None = None

    async def read(self, user_id: str) -> _Found:
        """Raises Unavailable."""
        found: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        self._asking.append((user_id, found))
        if self._reading is None:
            self._begin()
        return await found

    def _begin(self) -> None:
        waiting = [one for one in self._asking if not one[1].done()]
        asking, self._asking = waiting[:MOST_TOGETHER], waiting[MOST_TOGETHER:]
        if not asking:
            return
        as_of = self._publisher.current()
        user_ids = list(dict.fromkeys(user_id for user_id, _ in asking))
        # A task of its own: whoever came first may leave first.
        reading = asyncio.ensure_future(self._database.read(lambda store: store.viewpoints.find(user_ids), single=True))
        self._reading = reading
        reading.add_done_callback(partial(self._tell, asking, as_of))

    def _tell(self, asking: Sequence[_Asking], as_of: int, reading: _Reading) -> None:
        self._reading = None
        error = asyncio.CancelledError() if reading.cancelled() else reading.exception()
        rows = {} if error is not None else reading.result()
        made = {user_id: _viewpoint(user_id, row) for user_id, row in rows.items()}
        for user_id, found in asking:
            if found.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                found.cancel()
            elif error is not None:
                found.set_exception(error)
            else:
                found.set_result((made[user_id], as_of))
        self._begin()


def _viewpoint(user_id: str, row: ViewpointRow) -> Viewpoint:
    # Most ignore nobody and have changed no rule: they share what says so.
    return Viewpoint(row.joined, ignored_users(row.ignored) - {user_id} or _NOBODY, row.classes or (), row.newest)
