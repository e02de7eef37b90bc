"""What the tests of storage share: one database for each file, emptied before each test (making one takes long)."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from homeserver.storage.database import open_engine
from homeserver.storage.schema.tables import metadata
from tests.builders.cluster import Cluster
from tests.builders.house import TestHouse, open_house
from tests.storage.journal import Journal


@dataclass(frozen=True, slots=True)
class Place:
    """Where houses live, one after the other. `engine` has connections that are none of theirs."""

    url: str
    directory: Path
    engine: Engine


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    url = cluster.new_database()
    engine = open_engine(url, application="test")
    with tempfile.TemporaryDirectory(prefix="parley-house-") as directory:
        yield Place(url, Path(directory), engine)
    engine.dispose()
    cluster.drop(url)


@pytest.fixture
def empty_place(place: Place) -> Place:
    # Few rows: to delete them is quicker than TRUNCATE.
    deletions = [f"DELETE FROM {table.name}" for table in metadata.sorted_tables if table.name != "server"]
    with place.engine.connect() as connection:
        connection.execute(text("; ".join([*deletions, "DROP TABLE IF EXISTS journal"])))
    return place


@pytest.fixture
async def house(cluster: Cluster, empty_place: Place) -> AsyncIterator[TestHouse]:
    """A house on an empty database."""
    async with open_house(cluster, empty_place.url, empty_place.directory) as opened:
        yield opened


@pytest.fixture
def engine(place: Place) -> Engine:
    """Connections to the house's database that are none of the house's."""
    return place.engine


@pytest.fixture
def journal(house: TestHouse, engine: Engine) -> Journal:
    return Journal(house, engine)
