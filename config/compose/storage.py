"""Assembles storage and streams: the database, the one counter, the tail, and the epoch of sync tokens."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from homeserver.storage.blocks import Blocks, Numbers
from homeserver.storage.database import Database, open_engine
from homeserver.storage.epochs import EpochFile, current_epoch
from homeserver.storage.store import Caches
from homeserver.storage.upgrade import upgrade_database
from homeserver.streams.notifier import Notifier
from homeserver.streams.positions import Positions
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Streams:
    positions: Positions
    tail: Tail
    notifier: Notifier
    publisher: Publisher
    epoch: str


@dataclass(frozen=True, slots=True)
class Pools:
    """How many connections each kind of work has."""

    write: int = 4
    read: int = 6
    long_read: int = 2


def open_storage(url: str, server_name: str, epochs: EpochFile, pools: Pools) -> tuple[Database, Streams]:
    """Migrates the database if need be. Blocking; on the thread of the loop. Raises UnusableDatabase."""
    engine = open_engine(url)
    upgrade_database(engine, server_name)
    epoch = current_epoch(engine, epochs)
    loop = asyncio.get_running_loop()
    positions = Positions(Blocks(engine, "positions_reserved", epochs), _ahead(loop, lambda: positions.provide_spare()))
    tail, notifier = Tail(positions.current()), Notifier()
    publisher = Publisher(positions, tail, notifier)
    database = Database(
        engine,
        positions,
        Numbers(Blocks(engine, "numbers_reserved")),
        publisher,
        Caches(),
        write_threads=pools.write,
        read_threads=pools.read,
        long_read_threads=pools.long_read,
    )
    return database, Streams(positions, tail, notifier, publisher, epoch)


def _ahead(loop: asyncio.AbstractEventLoop, provide: Callable[[], None]) -> Callable[[], None]:
    """Reserves the next block in a thread, so that nobody waits for the disk."""

    def ask() -> None:
        loop.call_soon_threadsafe(start)

    def start() -> None:
        loop.run_in_executor(None, provide).add_done_callback(told)

    def told(done: asyncio.Future[None]) -> None:
        # Nobody is in need yet: whoever runs out reserves the block, and fails if it still cannot be had.
        if not done.cancelled() and done.exception() is not None:
            logger.warning("no block of positions could be reserved ahead: %s", done.exception())

    return ask
