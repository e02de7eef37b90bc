"""Positions and numbers over restarts, crashes and restored backups: none is ever given twice, none runs backwards."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from config.data_directory import PositionFile
from homeserver.domain.errors import Unavailable
from homeserver.storage.blocks import BLOCK, Blocks, Numbers, raise_positions
from homeserver.storage.database import open_engine
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.store import Store
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.house import TestHouse, open_house
from tests.storage.conftest import Place
from tests.storage.journal import Journal


class NotedHighWater:
    """A position file that notes what it is asked to hold."""

    def __init__(self) -> None:
        self.reserved: list[int] = []

    def reserve(self, up_to: int) -> None:
        self.reserved.append(up_to)


async def take_positions(house: TestHouse, count: int) -> list[int]:
    def work(store: Store) -> list[int]:
        return [store.take_position() for _ in range(count)]

    return await house.database.write(work)


def test_blocks_follow_one_another(empty_place: Place) -> None:
    """Each reservation is above those before it, also of another process, and is noted in the file."""
    file = NotedHighWater()
    one = Blocks(empty_place.engine, "positions_reserved", file)
    other = Blocks(empty_place.engine, "positions_reserved")
    blocks = [one.reserve(), other.reserve(), one.reserve()]

    assert all(last - first + 1 == BLOCK for first, last in blocks)
    assert all(before[1] < after[0] for before, after in pairwise(blocks))
    assert file.reserved == [blocks[0][1], blocks[2][1]]


def test_numbers_are_given_once(empty_place: Place) -> None:
    """Two processes, over several blocks, never give the same number."""
    numbers = [Numbers(Blocks(empty_place.engine, "numbers_reserved")) for _ in range(2)]
    taken = [numbers[step % 2].take() for step in range(2 * BLOCK + 10)]

    assert len(set(taken)) == len(taken)


async def test_restart_begins_above_every_position(cluster: Cluster, empty_place: Place) -> None:
    """A house that is opened again on the same data keeps its epoch and gives higher positions only."""
    given, epochs = [0], set()
    for _ in range(3):
        async with open_house(cluster, empty_place.url, empty_place.directory) as house:
            assert house.streams.publisher.current() >= given[-1]
            assert house.streams.tail.floor == house.streams.publisher.current()
            given += await take_positions(house, 5)
            epochs.add(house.streams.epoch)

    assert given == sorted(set(given))
    assert len(epochs) == 1


async def test_missing_position_file_begins_an_epoch(cluster: Cluster, empty_place: Place, tmp_path: Path) -> None:
    """Without the record of what was given out, tokens of before are worth nothing; positions still only rise."""
    async with open_house(cluster, empty_place.url, empty_place.directory) as house:
        first, positions = house.streams.epoch, await take_positions(house, 5)
    async with open_house(cluster, empty_place.url, tmp_path) as house:
        assert house.streams.epoch != first
        assert min(await take_positions(house, 1)) > max(positions)


@pytest.mark.parametrize("content", ["", "{", '{"epoch": "", "reserved": 5}', '{"epoch": "a", "reserved": -1}', "[]"])
async def test_damaged_position_file_begins_an_epoch(
    cluster: Cluster, empty_place: Place, tmp_path: Path, content: str
) -> None:
    """A file that says nothing is no file."""
    (tmp_path / "position.json").write_text(content)
    async with open_house(cluster, empty_place.url, tmp_path) as house:
        record = PositionFile(tmp_path).read()
        assert record is not None
        assert record.epoch == house.streams.epoch
        assert record.reserved >= max(await take_positions(house, 1))


async def test_older_database_begins_an_epoch(cluster: Cluster, empty_place: Place) -> None:
    """A database that was restored from a backup: a new epoch, and positions above all that clients were told."""
    async with open_house(cluster, empty_place.url, empty_place.directory) as house:
        first, positions = house.streams.epoch, await take_positions(house, 5)
    with empty_place.engine.connect() as connection:
        connection.execute(text("UPDATE server SET positions_reserved = 0"))
    async with open_house(cluster, empty_place.url, empty_place.directory) as house:
        second = house.streams.epoch
        assert second != first
        assert min(await take_positions(house, 1)) > max(positions)
    async with open_house(cluster, empty_place.url, empty_place.directory) as house:
        assert house.streams.epoch == second


def test_positions_are_raised_never_lowered(empty_place: Place) -> None:
    """What the file says can only move the database's mark up."""
    engine = empty_place.engine
    known = raise_positions(engine, 0)
    assert raise_positions(engine, known + 7) == known
    assert raise_positions(engine, 3) == known + 7
    assert Blocks(engine, "positions_reserved").reserve()[0] == known + 8


async def test_next_block_is_reserved_ahead(house: TestHouse) -> None:
    """Ten thousand positions later there is another block, and nothing is missing or given twice."""
    taken: list[int] = []
    for _ in range(5):
        taken += await take_positions(house, BLOCK // 2)

    assert taken == sorted(set(taken))
    assert house.streams.publisher.current() == taken[-1]


# PostgreSQL killed: a server of its own, which waits for the disk as a real one does.


@pytest.fixture(scope="module")
def durable() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="parley-durable-", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)  # the account that runs PostgreSQL must be able to enter
        postgres = EmbeddedPostgres(Path(directory), SERVER_NAME)
        postgres.start()
        yield postgres
        postgres.stop()


@asynccontextmanager
async def burst(house: TestHouse, journal: Journal, acknowledged: list[str], refused: list[str]) -> AsyncIterator[None]:
    """Six writers that go on and on, whatever happens to the database."""
    stop = False

    async def write(writer: int) -> None:
        number = 0
        while not stop:
            number += 1
            name = f"{writer}.{len(acknowledged)}.{number}"
            try:
                acknowledged.append(await house.database.write(journal.work(name)))
            except Unavailable:
                refused.append(name)

    tasks = [asyncio.create_task(write(writer)) for writer in range(6)]
    yield
    stop = True
    await asyncio.gather(*tasks)


async def more_than(acknowledged: list[str], count: int) -> None:
    goal = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        if len(acknowledged) > count:
            goal.set()
        else:
            loop.call_later(0.005, look)

    look()
    await asyncio.wait_for(goal.wait(), 60)


def kill_server(postgres: EmbeddedPostgres, engine: Engine) -> None:
    """All of it at once, as when the power fails; and started again, as the supervisor of the process does."""
    postmaster = int((postgres.cluster / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    while postgres.poll() is None:
        os.sched_yield()
    postgres.start()


def kill_backend(postgres: EmbeddedPostgres, engine: Engine) -> None:
    """One connection's process: PostgreSQL ends all others and recovers by itself."""
    with engine.connect() as connection:
        find = text("SELECT pid FROM pg_stat_activity WHERE application_name = 'parley' LIMIT 1")
        pid: int = connection.execute(find).scalar_one()
    os.kill(pid, signal.SIGKILL)


async def test_nothing_acknowledged_is_lost_when_postgresql_is_killed(
    durable: EmbeddedPostgres, cluster: Cluster, tmp_path: Path
) -> None:
    """kill -9 of the server and of one connection, in a burst: what was acknowledged is there once and in order."""
    url = f"postgresql://parley@/parley?host={durable.directory}/socket"
    acknowledged: list[str] = []
    refused: list[str] = []
    async with open_house(cluster, url, tmp_path) as house:
        engine: Engine = open_engine(url, application="test")
        journal = Journal(house, engine)
        async with burst(house, journal, acknowledged, refused):
            for kill in (kill_backend, kill_server):
                await more_than(acknowledged, len(acknowledged) + 60)
                kill(durable, engine)
            await more_than(acknowledged, len(acknowledged) + 60)
        await house.database.settle()
        engine.dispose()  # its connections were cut too

        names = [name for name, _ in journal.rows()]
        assert len(set(names)) == len(names)
        assert set(acknowledged) <= set(names)
        assert not set(refused) & set(names)
        assert house.streams.positions.unfinished() == 0
        journal.check()
        highest = journal.published[-1][1]
    async with open_house(cluster, url, tmp_path) as house:
        assert min(await take_positions(house, 1)) > highest
    engine.dispose()
