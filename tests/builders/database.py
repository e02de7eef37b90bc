"""A database with its streams on a real PostgreSQL, as `config` assembles them."""

from dataclasses import dataclass

from sqlalchemy import Engine

from homeserver.storage.blocks import Blocks, Numbers
from homeserver.storage.database import Database, open_engine
from homeserver.storage.store import Caches
from homeserver.storage.upgrade import upgrade_database
from homeserver.streams.notifier import Notifier
from homeserver.streams.positions import Positions
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail


@dataclass(frozen=True, slots=True)
class BuiltDatabase:
    """`engine` is for tests that look into the tables."""

    database: Database
    publisher: Publisher
    positions: Positions
    tail: Tail
    notifier: Notifier
    engine: Engine

    async def close(self) -> None:
        """Waits for what runs."""
        await self.database.settle()
        self.database.close()


def build_database(url: str, server_name: str) -> BuiltDatabase:
    """Upgrades the database at `url` and opens it. Call it on the loop that it is for."""
    engine = open_engine(url)
    upgrade_database(engine, server_name)
    positions = Positions(Blocks(engine, "positions_reserved"))
    tail, notifier = Tail(positions.current()), Notifier()
    publisher = Publisher(positions, tail, notifier)
    database = Database(engine, positions, Numbers(Blocks(engine, "numbers_reserved")), publisher, Caches())
    return BuiltDatabase(database, publisher, positions, tail, notifier, engine)
