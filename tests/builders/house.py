"""A house of its own for a test: storage and streams over a fresh database, and the services on top."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from config.compose.house import House, build_house
from config.compose.storage import Pools, Streams, open_storage
from config.data_directory import PositionFile
from config.system import SystemClock, SystemRandomness
from homeserver.domain.signing import generate_key
from homeserver.ports import RemoteDirectory
from homeserver.storage.database import Database
from tests.builders.abroad import consenting
from tests.builders.cluster import SERVER_NAME, Cluster

POOLS = Pools(write=3, read=2, long_read=1)


@dataclass(frozen=True, slots=True)
class TestHouse:
    """`directory` holds the position file: give it to the next house to restart on the same data."""

    __test__ = False

    url: str
    directory: Path
    database: Database
    streams: Streams
    services: House


@asynccontextmanager
async def open_house(
    cluster: Cluster,
    url: str | None = None,
    directory: Path | None = None,
    server_name: str = SERVER_NAME,
    directory_of_others: RemoteDirectory | None = None,
) -> AsyncIterator[TestHouse]:
    """On a fresh database unless `url` and `directory` are those of an earlier house. `directory_of_others`: what
    answers when other servers are asked for their rooms."""
    with tempfile.TemporaryDirectory(prefix="parley-house-") as scratch:
        where = Path(scratch) if directory is None else directory
        address = cluster.new_database(server_name=server_name) if url is None else url
        database, streams = open_storage(address, server_name, PositionFile(where), POOLS)
        key = generate_key(b"test" * 8, "a_test")
        house = build_house(
            database,
            streams,
            server_name,
            key,
            SystemClock(),
            SystemRandomness(),
            directory=directory_of_others,
            go_abroad=consenting,
        )
        try:
            yield TestHouse(address, where, database, streams, house)
        finally:
            house.sync.stop()
            house.typing.stop()
            await database.settle()
            database.close()
            if url is None:
                cluster.drop(address)
