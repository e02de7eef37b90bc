"""Search in tests: its index is brought up to date when a test says so."""

from homeserver.services.search.index import SearchIndex
from homeserver.storage.database import Database
from homeserver.storage.stream import WholeStream

END = 2**62


async def index_everything(database: Database) -> None:
    """Tells the index of every event that is there, whether it was told before or not."""
    batch = await WholeStream(database).list_batch(0, END, 1_000_000)
    await SearchIndex(database).act([row for _, row in batch])
