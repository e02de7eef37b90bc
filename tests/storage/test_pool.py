"""What waits for the database is bounded: beyond it, work is refused at once, and what was admitted is done."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine

from homeserver.domain.errors import Unavailable
from homeserver.storage.blocks import Blocks, Numbers
from homeserver.storage.database import Database, open_engine
from homeserver.storage.store import Caches, Store
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse
from tests.storage.journal import Journal, list_rows

MOST = 3
KINDS = {"write": "write", "read": "read", "read_long": "long-read"}


@pytest.fixture
async def narrow(house: TestHouse, engine: Engine) -> AsyncIterator[Database]:
    """A database with one thread of each kind, behind each of which MOST may wait."""
    streams = house.streams
    database = Database(
        open_engine(house.url),
        streams.positions,
        Numbers(Blocks(engine, "numbers_reserved")),
        streams.publisher,
        Caches(),
        write_threads=1,
        read_threads=1,
        long_read_threads=1,
        most_writes=MOST,
        most_reads=MOST,
        most_long_reads=MOST,
    )
    yield database
    await database.settle()
    database.close()


class Gate:
    """Work that holds its thread until the gate is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, store: Store) -> str:
        self.entered.set()
        assert self._open.wait(20)
        return "gate"

    def open(self) -> None:
        self._open.set()


async def hold(run: Callable[[Callable[[Store], Any]], Awaitable[Any]], stack: ExitStack) -> asyncio.Future[Any]:
    """Keeps the only thread busy."""
    gate = Gate()
    stack.callback(gate.open)
    task = asyncio.ensure_future(run(gate))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    return task


def refused(pool: str) -> float:
    return REGISTRY.get_sample_value("parley_database_refused_total", {"pool": pool}) or 0.0


@pytest.mark.parametrize("kind", KINDS)
async def test_too_much_is_refused_at_once_and_the_rest_is_done(narrow: Database, kind: str) -> None:
    """One more than may wait is refused while the thread is still busy; all others get their answers."""
    run: Callable[[Callable[[Store], Any]], Awaitable[Any]] = getattr(narrow, kind)
    before = refused(KINDS[kind])
    with ExitStack() as stack:
        held = await hold(run, stack)
        waiting = [asyncio.ensure_future(run(list_rows_or_nothing)) for _ in range(MOST)]
        await asyncio.sleep(0)
        assert narrow.waiting == {pool: MOST * (pool == KINDS[kind]) for pool in KINDS.values()}
        for _ in range(2):
            with pytest.raises(Unavailable):
                await run(list_rows_or_nothing)
    assert [await held, *await asyncio.gather(*waiting)] == ["gate", *["nothing"] * MOST]
    assert refused(KINDS[kind]) == before + 2
    assert narrow.waiting == dict.fromkeys(KINDS.values(), 0)
    assert await run(list_rows_or_nothing) == "nothing"


def list_rows_or_nothing(store: Store) -> str:
    store.transaction.text("SELECT 1")
    return "nothing"


async def test_writes_that_wait_for_a_room_count(narrow: Database, journal: Journal) -> None:
    """Those behind a room's lock wait too, and one that is refused keeps nobody from the room."""
    with ExitStack() as stack:
        held = await hold(lambda work: narrow.write(work, room="!a"), stack)
        rooms = ["!a", "!a", "!b"]
        waiting = [
            asyncio.ensure_future(narrow.write(journal.work(f"w{number}"), room=room))
            for number, room in enumerate(rooms)
        ]
        await asyncio.sleep(0)
        assert narrow.waiting["write"] == MOST
        for room in ("!a", "!c", None):
            with pytest.raises(Unavailable):
                await narrow.write(journal.work("refused"), room=room)
    await asyncio.gather(held, *waiting)
    assert sorted(name for name, _ in journal.published) == ["w0", "w1", "w2"]
    assert not narrow._rooms
    assert narrow.waiting["write"] == 0
    journal.check()


@pytest.mark.parametrize("room", ["!a", None])
async def test_callers_that_go_away_make_room(narrow: Database, journal: Journal, room: str | None) -> None:
    """Whoever gives up behind a room's lock waits no more; a write that is handed over is done all the same."""
    with ExitStack() as stack:
        held = await hold(lambda work: narrow.write(work, room=room), stack)
        waiting = [asyncio.ensure_future(narrow.write(journal.work("w"), room=room)) for _ in range(MOST)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        assert narrow.waiting["write"] == (MOST - 1 if room else MOST)
    await asyncio.gather(held, *waiting[1:])
    await narrow.settle()
    assert len(journal.published) == (MOST - 1 if room else MOST)
    journal.check()


async def test_a_cancelled_read_waits_until_its_turn_and_does_nothing(narrow: Database) -> None:
    """Callers that come and go cannot pile up work: each counts until its thread has come to it, and is skipped."""
    asked: list[Store] = []
    with ExitStack() as stack:
        held = await hold(narrow.read, stack)
        for _ in range(MOST):
            reading = asyncio.ensure_future(narrow.read(asked.append))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        assert narrow.waiting["read"] == MOST
        with pytest.raises(Unavailable):
            await narrow.read(list_rows)
    await held
    assert await narrow.read(list_rows_or_nothing) == "nothing"
    assert asked == []
    assert narrow.waiting["read"] == 0
