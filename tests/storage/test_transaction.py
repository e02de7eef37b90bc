"""A COMMIT whose answer is lost: the write is judged by its trace, and happens exactly once."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine, text

from homeserver.domain.errors import Unavailable
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from homeserver.storage.store import Store
from homeserver.streams.publications import EventItem, Publication
from tests.builders.cluster import Cluster
from tests.builders.house import POOLS, TestHouse, open_house
from tests.storage.conftest import Place
from tests.storage.journal import USER, Journal
from tests.storage.proxy import Cut, CuttingProxy, cutting_proxy


@dataclass(frozen=True, slots=True)
class Endangered:
    """A house whose connections go through `proxy`; `engine` goes past it."""

    house: TestHouse
    proxy: CuttingProxy
    engine: Engine


@pytest.fixture
async def endangered(cluster: Cluster, empty_place: Place) -> AsyncIterator[Endangered]:
    with cutting_proxy(empty_place.url) as (proxy, address):
        async with open_house(cluster, address, empty_place.directory) as house:
            yield Endangered(house, proxy, empty_place.engine)


@dataclass(slots=True)
class Cuts:
    """Cuts the next COMMITs in these ways, and leaves those after them alone. Thread-safe."""

    ways: list[Cut]
    all_made: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> Cut | None:
        with self._lock:
            way = self.ways.pop(0) if self.ways else None
            if not self.ways:
                self.all_made.set()
            return way


async def connect_all(house: TestHouse) -> None:
    """Returns when every thread of the writers has its connection."""
    together = threading.Barrier(POOLS.write)

    def work(store: Store) -> None:
        store.transaction.text("SELECT 1")
        together.wait(20)

    await asyncio.gather(*(house.database.write(work) for _ in range(POOLS.write)))


@pytest.mark.parametrize("way", list(Cut))
async def test_cut_commit_happens_once(endangered: Endangered, way: Cut) -> None:
    """Whether COMMIT arrived or not: the write is there once, is published once, and its caller hears of success."""
    journal = Journal(endangered.house, endangered.engine)
    endangered.proxy.choose = Cuts([way])
    result = await endangered.house.database.write(journal.work("one", positions=2))
    await endangered.house.database.write(journal.work("two"))

    assert result == "one"
    assert [name for name, _ in journal.published] == ["one", "one", "two"]
    assert endangered.proxy.cuts == [way]
    journal.check()


SLOW_COMMIT = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON journal DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION dawdle()
"""


async def test_commit_that_is_still_under_way(endangered: Endangered) -> None:
    """The connection is lost while the server is at COMMIT: it is judged only when the server can no longer do it."""
    journal = Journal(endangered.house, endangered.engine)
    with endangered.engine.connect() as connection:
        connection.execute(text("DROP FUNCTION IF EXISTS dawdle CASCADE"))
        connection.execute(text(SLOW_COMMIT))
    endangered.proxy.choose = Cuts([Cut.RACING])
    await endangered.house.database.write(journal.work("slow"))
    with endangered.engine.connect() as connection:  # what a server that goes on would still do
        connection.execute(text("SELECT pg_sleep(0.4)"))

    assert [name for name, _ in journal.published] == ["slow"]
    journal.check()


@pytest.mark.parametrize("seed", [1, 2])
async def test_many_cut_commits(endangered: Endangered, seed: int) -> None:
    """Concurrent writers, one in three of whose COMMITs is cut: all happen once, in order."""
    dice = random.Random(seed)
    journal = Journal(endangered.house, endangered.engine)
    endangered.proxy.choose = lambda: dice.choice([*Cut, None, None, None, None, None, None])
    names = [f"w{number}" for number in range(40)]
    done = await asyncio.gather(*(endangered.house.database.write(journal.work(name)) for name in names))
    endangered.proxy.choose = lambda: None
    await endangered.house.database.settle()

    assert done == names
    assert sorted(name for name, _ in journal.published) == sorted(names)
    assert set(endangered.proxy.cuts) == set(Cut)
    assert endangered.house.streams.positions.unfinished() == 0
    journal.check()


@pytest.mark.parametrize("way", list(Cut))
async def test_cut_message_is_one_event(endangered: Endangered, way: Cut) -> None:
    """A message whose COMMIT was cut is one event, told apart by its own row and not by a row of write_log."""
    services = endangered.house.services
    heard: list[str] = []

    def hear(publication: Publication) -> None:
        if isinstance(publication.item, EventItem):
            heard.append(publication.item.event_id)

    room = await services.create(USER, RoomRequest(ROOM_VERSIONS["12"], "private_chat"))
    endangered.house.streams.publisher.listen(hear)
    endangered.proxy.choose = Cuts([way])
    event_id = await services.send.message(
        USER, "D", room, "m.room.message", "t", {"msgtype": "m.text", "body": "hello"}
    )

    assert heard == [event_id]
    with endangered.engine.connect() as connection:
        stored = connection.execute(text("SELECT event_id FROM events WHERE type = 'm.room.message'")).scalars().all()
        assert stored == [event_id]
        assert connection.execute(text("SELECT count(*) FROM write_log")).scalar_one() == 0


async def test_nothing_is_shown_while_nobody_knows(endangered: Endangered) -> None:
    """As long as the database cannot be asked about a cut COMMIT, what comes after it is held back."""
    database, publisher = endangered.house.database, endangered.house.streams.publisher
    journal = Journal(endangered.house, endangered.engine)
    await connect_all(endangered.house)
    endangered.proxy.open.clear()
    endangered.proxy.choose = cuts = Cuts([Cut.AFTER])
    unknown = asyncio.create_task(database.write(journal.work("unknown")))
    assert await asyncio.to_thread(cuts.all_made.wait, 20)
    await database.write(journal.work("known"))

    assert not unknown.done()
    assert publisher.held == 1
    assert publisher.current() == endangered.house.streams.positions.current()
    assert journal.published == []
    endangered.proxy.open.set()
    await unknown
    assert [name for name, _ in journal.published] == ["unknown", "known"]
    journal.check()


async def test_shutdown_does_not_wait_for_what_nobody_knows(endangered: Endangered) -> None:
    """A house can be closed while the database does not answer about a cut COMMIT."""
    database = endangered.house.database
    journal = Journal(endangered.house, endangered.engine)
    await connect_all(endangered.house)
    endangered.proxy.open.clear()
    endangered.proxy.choose = cuts = Cuts([Cut.AFTER])
    unknown = asyncio.create_task(database.write(journal.work("unknown")))
    assert await asyncio.to_thread(cuts.all_made.wait, 20)
    await database.settle(0.2)
    await asyncio.to_thread(database.close)

    with pytest.raises(Unavailable):
        await unknown
    assert journal.published == []


@pytest.mark.parametrize("kind", ["write", "read"])
async def test_connection_that_the_server_ends(endangered: Endangered, kind: str) -> None:
    """A connection that is ended in the middle of the work costs an attempt, and nothing else."""
    journal = Journal(endangered.house, endangered.engine)
    attempts = []

    def work(store: Store) -> int:
        attempts.append(1)
        if kind == "write":
            journal.work("killed")(store)
        pid = store.transaction.text("SELECT pg_backend_pid()")[0][0]
        if len(attempts) == 1:
            with endangered.engine.connect() as connection:
                connection.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
        return len(store.transaction.text("SELECT 1"))

    database = endangered.house.database
    assert await (database.write(work) if kind == "write" else database.read(work)) == 1
    assert len(attempts) == 2
    assert [name for name, _ in journal.published] == ["killed"] * (kind == "write")
    journal.check()
