"""How far other servers have taken what we send them, kept so that a crash loses nothing.

Two cursors hold for all servers, one for events and one for receipts; a server that lies behind them has a row of its
own. What was taken and not yet written down is sent again after a crash: that does no harm.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store
from homeserver.storage.unsent import UnsentRow

EVENTS, RECEIPTS = "outbox", "outbox receipts"


@dataclass(frozen=True, slots=True)
class Reached:
    """Everything up to these positions was taken."""

    events: int
    receipts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The cursors, None if nothing was ever sent; and the servers that lie behind them."""

    events: int | None
    receipts: int | None
    behind: Mapping[str, Reached]


class Progress:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def load(self) -> Kept:
        def work(store: Store) -> Kept:
            behind = {row.server: Reached(row.position, row.receipts) for row in store.unsent.list_all()}
            return Kept(store.cursors.find(EVENTS), store.cursors.find(RECEIPTS), behind)

        return await self._database.read(work)

    async def save(self, cursors: Reached, behind: Mapping[str, Reached], done: Collection[str]) -> None:
        """`behind`: servers that lie behind the cursors; `done`: those that do so no more."""

        def work(store: Store) -> None:
            store.unsent.put(UnsentRow(name, reached.events, reached.receipts) for name, reached in behind.items())
            store.unsent.remove(done)
            store.cursors.set(EVENTS, cursors.events)
            store.cursors.set(RECEIPTS, cursors.receipts)

        await self._database.write(work)

    async def prune(self) -> None:
        """Forgets which servers were in which rooms before everything that is still to be sent; from time to time."""

        def work(store: Store) -> None:
            cursor = store.cursors.find(EVENTS)
            if cursor is not None:
                store.room_servers.prune(min([cursor, *(row.position for row in store.unsent.list_all())]))

        await self._database.write(work)
