"""A database that counts what it is sent: the cost of a use case that does not depend on how fast the machine is."""

from collections.abc import Callable
from typing import TypeVar

from homeserver.storage.database import Database
from homeserver.storage.store import Store

T = TypeVar("T")


class CountingDatabase:
    """Implements `Persistence`: notes how many statements each transaction sent, COMMIT included."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements: list[int] = []

    async def write(self, work: Callable[[Store], T], *, room: str | None = None) -> T:
        def counted(store: Store) -> T:
            result = work(store)
            store.leave_trace()
            self.statements.append(store.statements + 1)
            return result

        return await self._database.write(counted, room=room)

    async def read(self, work: Callable[[Store], T], *, single: bool = False) -> T:
        def counted(store: Store) -> T:
            result = work(store)
            self.statements.append(store.statements)
            return result

        return await self._database.read(counted, single=single)

    async def read_long(self, work: Callable[[Store], T]) -> T:
        return await self._database.read_long(work)
