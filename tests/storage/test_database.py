"""Writes and reads: what is committed is published, in order, once, whatever happens to the caller."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable

import pytest
from psycopg2 import errors as pg
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from homeserver.domain.errors import Forbidden, Unavailable
from homeserver.storage.blocks import Blocks, Numbers
from homeserver.storage.database import PRUNE_EVERY, Database, open_engine
from homeserver.storage.store import Caches, Store
from homeserver.streams.publications import Publication
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import POOLS, TestHouse
from tests.storage.journal import USER, Journal, list_rows

WRITES = 120


class Held:
    """A write that goes on only when it is told to."""

    def __init__(self, work: Callable[[Store], str]) -> None:
        self._work = work
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, store: Store) -> str:
        result = self._work(store)
        self.begun.set()
        assert self.go_on.wait(20)
        return result


def sample(name: str, **labels: str) -> float:
    """The value of a metric now."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_writers(house: TestHouse, journal: Journal, seed: int) -> None:
    """Delays, errors, rollbacks and cancelled callers: what is shown is what is committed, in order, and stays so."""
    dice = random.Random(seed)
    database, publisher = house.database, house.streams.publisher
    acknowledged: set[str] = set()
    failed: set[str] = set()
    observed: list[tuple[int, list[tuple[str, int]]]] = []

    async def write(name: str) -> None:
        room = f"!{dice.randrange(4)}" if dice.random() < 0.5 else None
        sql = [f"SELECT pg_sleep({dice.random() / 200})"] if dice.random() < 0.5 else []
        fate = dice.choice(["well", "well", "well", "sql error", "our error"])
        work = journal.work(name, positions=dice.randrange(1, 4), after=[*sql, *(["SELECT 1/0"] * (fate[0] == "s"))])

        def whole(store: Store) -> str:
            result = work(store)
            if fate == "our error":
                raise Forbidden("no")
            return result

        try:
            acknowledged.add(await database.write(whole, room=room))
        except (Forbidden, DBAPIError, pg.DivisionByZero):
            failed.add(name)

    async def watch() -> None:
        while True:
            upto = publisher.current()
            rows = await database.read(list_rows)
            observed.append((upto, sorted((row for row in rows if row[1] <= upto), key=lambda row: row[1])))

    watching = asyncio.create_task(watch())
    tasks = []
    for number in range(WRITES):
        tasks.append(task := asyncio.create_task(write(f"w{number}")))
        if dice.random() < 0.2:
            asyncio.get_running_loop().call_later(dice.random() / 10, task.cancel)
        if dice.random() < 0.3:
            await asyncio.sleep(0)
    await asyncio.wait(tasks)
    watching.cancel()
    await asyncio.wait([watching])
    await database.settle()

    journal.check()
    names = {name for name, _ in journal.published}
    assert acknowledged <= names
    assert not failed & names
    assert publisher.held == house.streams.positions.unfinished() == 0
    rows = journal.rows()
    for upto, seen in observed:
        assert seen == [row for row in rows if row[1] <= upto]


async def test_cancelled_request_still_publishes(house: TestHouse, journal: Journal) -> None:
    """A caller that goes away while its write runs changes nothing about the write."""
    held = Held(journal.work("orphan"))
    task = asyncio.create_task(house.database.write(held))
    await until(held.begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.go_on.set()
    await house.database.settle()

    assert [name for name, _ in journal.published] == ["orphan"]
    journal.check()


async def test_the_caller_goes_on_before_those_who_wait(house: TestHouse, journal: Journal) -> None:
    """Who writes has the answer before anybody who waits for it is told: a sender knows the id of what comes back."""
    order: list[str] = []

    async def waits() -> None:
        await house.streams.notifier.wait(["u" + USER], 60)
        order.append("waiter")

    async def writes() -> None:
        await house.database.write(journal.work("news"))
        order.append("caller")

    waiting = asyncio.create_task(waits())
    await asyncio.gather(writes(), waiting)
    assert order == ["caller", "waiter"]


async def test_publications_wait_for_an_earlier_position(house: TestHouse, journal: Journal) -> None:
    """A write that committed first is shown only after the one that took its position before it."""
    slow = Held(journal.work("slow"))
    task = asyncio.create_task(house.database.write(slow))
    await until(slow.begun)
    await house.database.write(journal.work("fast"))

    assert journal.published == []
    assert house.streams.publisher.held == 1
    slow.go_on.set()
    await task
    assert [name for name, _ in journal.published] == ["slow", "fast"]
    journal.check()


async def test_rolled_back_write_frees_those_behind_it(house: TestHouse, journal: Journal) -> None:
    """The position of a write that failed holds nobody up, and nothing of the write is shown."""

    def refuse(store: Store) -> str:
        journal.work("refused")(store)
        raise Forbidden("no")

    with pytest.raises(Forbidden):
        await house.database.write(refuse)
    await house.database.write(journal.work("next"))

    assert [name for name, _ in journal.published] == ["next"]
    journal.check()


async def test_one_writer_per_room(house: TestHouse, journal: Journal) -> None:
    """The second writer of a room begins when the first has ended; another room's writer does not wait."""
    first, second = Held(journal.work("first")), Held(journal.work("second"))
    second.go_on.set()
    tasks = [asyncio.create_task(house.database.write(held, room="!a")) for held in (first, second)]
    await until(first.begun)
    await house.database.write(journal.work("elsewhere"), room="!b")

    assert not second.begun.is_set()
    first.go_on.set()
    await asyncio.gather(*tasks)
    assert [name for name, _ in journal.published] == ["first", "elsewhere", "second"]


async def test_cancelled_while_waiting_for_the_room(house: TestHouse, journal: Journal) -> None:
    """Who gives up waiting for a room writes nothing and keeps nobody from it."""
    first = Held(journal.work("first"))
    holder = asyncio.create_task(house.database.write(first, room="!a"))
    await until(first.begun)
    waiting = [asyncio.create_task(house.database.write(journal.work(name), room="!a")) for name in ("b", "c", "d")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    first.go_on.set()
    await asyncio.wait([holder, *waiting])
    await house.database.write(journal.work("last"), room="!a")

    assert [name for name, _ in journal.published] == ["first", "c", "last"]
    assert not house.database._rooms  # nothing is kept of rooms to which nobody writes
    journal.check()


async def test_room_is_free_after_an_error(house: TestHouse, journal: Journal) -> None:
    """A writer that fails lets the next one in."""
    with pytest.raises(pg.DivisionByZero):
        await house.database.write(journal.work("wrong", after=["SELECT 1/0"]), room="!a")
    await house.database.write(journal.work("right"), room="!a")

    journal.check()


async def test_deadlock_is_tried_again(house: TestHouse, journal: Journal, engine: Engine) -> None:
    """Two writes that lock two rows crosswise both succeed, each once."""
    with engine.connect() as connection:
        connection.execute(text("DROP TABLE IF EXISTS pair"))
        connection.execute(text("CREATE TABLE pair AS SELECT generate_series(1, 2) AS id, 0 AS value"))
    both = threading.Barrier(2)
    attempts = []

    def crosswise(name: str, ids: tuple[int, int]) -> Callable[[Store], str]:
        def work(store: Store) -> str:
            attempts.append(name)
            journal.work(name)(store)
            store.transaction.text("UPDATE pair SET value = value + 1 WHERE id = %s RETURNING 1", ids[0])
            if len(attempts) <= 2:
                both.wait(20)
            store.transaction.text("UPDATE pair SET value = value + 1 WHERE id = %s RETURNING 1", ids[1])
            return name

        return work

    await asyncio.gather(house.database.write(crosswise("up", (1, 2))), house.database.write(crosswise("down", (2, 1))))

    assert len(attempts) >= 3
    with engine.connect() as connection:
        assert connection.execute(text("SELECT value FROM pair")).scalars().all() == [2, 2]
    journal.check()
    assert len(journal.published) == 2


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_conflicts_are_given_up_at_some_time(house: TestHouse, journal: Journal, code: str) -> None:
    """A write that always conflicts is refused as unavailable, and nothing of it is left."""
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(Unavailable):
        await house.database.write(journal.work("never", after=[raising]))
    await house.database.write(journal.work("next"))

    assert [name for name, _ in journal.published] == ["next"]
    journal.check()


async def test_statements_prepared_in_a_failed_transaction(house: TestHouse) -> None:
    """A connection whose transaction failed lives on, and can run the hot statements that were prepared in it."""

    def fail(store: Store) -> None:
        store.account_data.find(USER, 0, "x")
        store.transaction.text("SELECT 1/0")

    def succeed(store: Store) -> int:
        assert store.account_data.find(USER, 0, "x") is None
        backend: int = store.transaction.text("SELECT pg_backend_pid()")[0][0]
        return backend

    backends = set()
    for _ in range(10):
        with pytest.raises(pg.DivisionByZero):
            await house.database.write(fail)
        backends.add(await house.database.write(succeed))
        with pytest.raises(pg.DivisionByZero):
            await house.database.read(fail)
        backends.add(await house.database.read(succeed, single=True))
    assert len(backends) <= POOLS.write + POOLS.read


async def test_read_is_one_snapshot_that_cannot_write(house: TestHouse, journal: Journal) -> None:
    """A read sees the same at its end as at its beginning, and may not change anything."""
    begun, go_on = threading.Event(), threading.Event()

    def look(store: Store) -> list[list[tuple[str, int]]]:
        before = list_rows(store)
        begun.set()
        assert go_on.wait(20)
        return [before, list_rows(store)]

    reading = asyncio.create_task(house.database.read(look))
    await until(begun)
    await house.database.write(journal.work("meanwhile"))
    go_on.set()

    assert await reading == [[], []]
    with pytest.raises(Unavailable):
        await house.database.read_long(journal.work("forbidden", after=["SELECT 1"]))
    journal.check()


async def test_work_that_asks_nothing_sends_nothing(house: TestHouse) -> None:
    """Neither BEGIN nor COMMIT go out for a piece of work without statements."""
    before = sample("parley_statements_total")
    sent = await house.database.write(lambda store: store.statements)

    assert sent == 1
    assert sample("parley_statements_total") == before


@pytest.mark.parametrize("kind", ["write", "read", "read_long"])
async def test_timeouts_are_set(house: TestHouse, kind: str) -> None:
    """No statement, lock or idle transaction lasts for ever."""

    def look(store: Store) -> dict[str, str]:
        names = "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone"
        return {name: store.transaction.text(f"SHOW {name}")[0][0] for name in names}

    run: Callable[[Callable[[Store], dict[str, str]]], Awaitable[dict[str, str]]] = getattr(house.database, kind)
    assert await run(look) == {
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "15s",
        "TimeZone": "UTC",
    }


async def test_write_log_returns_to_its_plateau(house: TestHouse, journal: Journal, engine: Engine) -> None:
    """Rows of write_log below the watermark are removed; those of writes that have not ended stay."""
    with engine.connect() as connection:  # what an earlier life of the server left
        connection.execute(text("INSERT INTO write_log SELECT generate_series(-7000, -1)"))
    held = Held(journal.work("held"))
    task = asyncio.create_task(house.database.write(held))
    await until(held.begun)
    for _ in range(PRUNE_EVERY // 100):
        await asyncio.gather(*(house.database.write(journal.work("w")) for _ in range(100)))
    await house.database.settle(0.5)  # all but the one that is held

    def count() -> int:
        with engine.connect() as connection:
            found: int = connection.execute(text("SELECT count(*) FROM write_log")).scalar_one()
            return found

    assert count() == PRUNE_EVERY
    held.go_on.set()
    await task
    for _ in range(PRUNE_EVERY // 100):
        await asyncio.gather(*(house.database.write(journal.work("w")) for _ in range(100)))
    await house.database.settle()
    assert count() <= PRUNE_EVERY


async def test_listener_that_fails_leaves_the_caller_its_answer(house: TestHouse, journal: Journal) -> None:
    """A mistake in a listener is reported, and the write is acknowledged all the same."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))

    def fail(publication: Publication) -> None:
        raise ArithmeticError("a listener's mistake")

    house.streams.publisher.listen(fail)
    assert await house.database.write(journal.work("acknowledged")) == "acknowledged"
    assert [type(one) for one in reported] == [ArithmeticError]


async def test_metrics_count_what_happened(house: TestHouse, journal: Journal) -> None:
    """Transactions are counted by outcome."""

    def counts() -> list[float]:
        outcomes = [sample("parley_write_transactions_total", outcome=outcome) for outcome in ("committed", "failed")]
        return [*outcomes, sample("parley_read_transactions_total")]

    await house.database.write(journal.work("that makes the house prune write_log"))
    await house.database.settle()
    before = counts()
    await house.database.write(journal.work("well"))
    with pytest.raises(pg.DivisionByZero):
        await house.database.write(journal.work("badly", after=["SELECT 1/0"]))
    await house.database.read(list_rows)

    assert counts() == [value + 1 for value in before]


async def test_callers_do_not_wait_for_a_database_that_is_away(house: TestHouse, engine: Engine) -> None:
    """Work waits for a bounded time for a database that takes no connections, and is refused then."""
    streams, numbers = house.streams, Numbers(Blocks(engine, "numbers_reserved"))
    nowhere = open_engine(house.url.replace("?host=", "?host=/nowhere"))
    database = Database(nowhere, streams.positions, numbers, streams.publisher, Caches(), away_seconds=0.3)
    with pytest.raises(Unavailable):
        await database.read(list_rows)
    with pytest.raises(Unavailable):
        await database.write(list_rows)
    database.close()
