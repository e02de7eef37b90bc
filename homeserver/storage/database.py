"""`write` and `read`: the whole persistence API of the house.

`await db.write(work)` runs `work(store)`, an ordinary function, in a pool thread and in one READ COMMITTED transaction.
It may run more than once (a deadlock, a lost connection), so it must be repeatable; it cannot await, so it cannot wait
for the network while it holds locks. What it published goes out after the commit, from the write's own future, so
that a request that is cancelled meanwhile still publishes. `await db.read(work)` is the same on one read-only snapshot.
Each kind of work has threads of its own (`homeserver.storage.pool`) and a bound for what waits for them: beyond it,
work is refused at once.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import psycopg2
from psycopg2 import errors as pg
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from homeserver.domain.errors import Unavailable
from homeserver.storage.blocks import Numbers
from homeserver.storage.pool import Patience, Pool, origin
from homeserver.storage.store import Caches, Store
from homeserver.storage.transaction import Transaction
from homeserver.streams.positions import Positions
from homeserver.streams.publications import Publication
from homeserver.streams.publisher import Publisher
from homeserver.telemetry.metrics import READ_TRANSACTIONS, STATEMENTS, WRITE_SECONDS, WRITE_TRANSACTIONS

T = TypeVar("T")
logger = logging.getLogger(__name__)

# How long work waits for a database that takes no connections: as long as a crash recovery usually takes.
AWAY_SECONDS = 10.0
# How many pieces of work may wait for a thread. Reads: after a restart, as many clients as there are ask at once.
MOST_WRITES, MOST_READS, MOST_LONG_READS = 2_000, 10_000, 2_000
# So many rows of write_log are written before those below the watermark are pruned, a bounded number at a time.
PRUNE_EVERY = 500
PRUNE_LIMIT = 5_000
BEGIN_WRITE = b"BEGIN ISOLATION LEVEL READ COMMITTED"
BEGIN_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
RETRIED = (pg.SerializationFailure, pg.DeadlockDetected)
# The database is there and cannot do it: no room on the disk, no memory, or it would take too long. OSError: the file
# of positions has no room. To try again at once would only hold up others.
REFUSED = (pg.DiskFull, pg.OutOfMemory, pg.QueryCanceled, pg.LockNotAvailable, OSError)
# A connection over a network that is gone is noticed within a minute. A Unix socket needs none of this.
KEEPALIVE = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 40_000,
}

_committed, _retried, _failed = (WRITE_TRANSACTIONS.labels(outcome) for outcome in ("committed", "retried", "failed"))


def open_engine(url: str, *, statement_timeout_ms: int = 30_000, application: str = "parley") -> Engine:
    """An engine whose connections belong to threads; timeouts are set on each connection."""
    options = (
        f"-c statement_timeout={statement_timeout_ms} -c lock_timeout=10000 "
        "-c idle_in_transaction_session_timeout=15000 -c timezone=UTC "
        # A plan is kept for as long as the connection, and may be made while a table is small. Everything that is asked
        # often has its index; to compile such short statements costs more than to run them.
        "-c enable_seqscan=off -c jit=off"
    )
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg2://", 1),
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=63,
        connect_args={"options": options, "application_name": application, "connect_timeout": 10, **KEEPALIVE},
    )


@dataclass(slots=True)
class _Outcome:
    """How a write ended: its positions are to be finished in any case."""

    positions: list[int] = field(default_factory=list)
    publications: Sequence[Publication] = ()
    result: Any = None
    error: BaseException | None = None
    # It left a row of write_log.
    logged: bool = False

    def succeed(self, store: Store, result: Any) -> "_Outcome":
        """The transaction is committed."""
        self.positions += store.positions
        self.publications, self.result, self.error = store.publications, result, None
        self.logged = store.logged
        _committed.inc()
        STATEMENTS.inc(store.statements)
        for remember in store.after_commit:
            remember()
        # What is remembered holds the store.
        store.after_commit.clear()
        return self


class Database:
    """Lives on the loop; `work` runs in threads."""

    def __init__(
        self,
        engine: Engine,
        positions: Positions,
        numbers: Numbers,
        publisher: Publisher,
        caches: Caches,
        *,
        write_threads: int = 4,
        read_threads: int = 3,
        long_read_threads: int = 2,
        away_seconds: float = AWAY_SECONDS,
        most_writes: int = MOST_WRITES,
        most_reads: int = MOST_READS,
        most_long_reads: int = MOST_LONG_READS,
    ) -> None:
        self._engine = engine
        self._positions = positions
        self._numbers = numbers
        self._publisher = publisher
        self._caches = caches
        self._writers = Pool("write", write_threads, engine, away_seconds, most_writes)
        self._readers = Pool("read", read_threads, engine, away_seconds, most_reads)
        self._long_readers = Pool("long-read", long_read_threads, engine, away_seconds, most_long_reads)
        self._rooms: dict[str, _RoomLock] = {}
        self._closing = threading.Event()
        self._under_way: set[asyncio.Future[_Outcome]] = set()
        # Rows of write_log that nobody pruned yet; those of an earlier life of the server are pruned first.
        self._logged = PRUNE_EVERY

    async def write(self, work: Callable[[Store], T], *, room: str | None = None) -> T:
        """The result of `work`, committed. `room`: the id of the room that it writes to, one writer at a time.

        Raises Unavailable at once, and nothing was done, if too many writes wait already.
        """
        began = asyncio.get_running_loop().time()
        self._writers.admit()
        lock = None if room is None else await self._lock(room)
        # No name is given to the future: an error holds all names on its way, and the future the error.
        return await self._submit(work, room, lock, began)

    def _submit(
        self, work: Callable[[Store], T], room: str | None, lock: "_RoomLock | None", began: float
    ) -> asyncio.Future[T]:
        """Has a thread do it. `lock`: of the room, to be released when it has ended; `began`: when it was asked for."""
        loop = asyncio.get_running_loop()
        future = self._writers.submit(partial(self._write, work))
        done: asyncio.Future[T] = loop.create_future()
        self._under_way.add(future)

        def ended(finished: asyncio.Future[_Outcome]) -> None:
            self._under_way.discard(finished)
            if room is not None and lock is not None:
                self._release(room, lock, held=True)
            outcome = finished.result()
            WRITE_SECONDS.observe(loop.time() - began)
            # First the caller, then whom the publications wake: they go on after this, in that order. So who sends an
            # event knows its id before it comes back by sync, which clients are used to (matrix-js-sdk in threads).
            if not done.cancelled():
                if outcome.error is not None:
                    done.set_exception(outcome.error)
                else:
                    done.set_result(outcome.result)
            # The error holds the frame of the thread, which holds the outcome.
            outcome.error = None
            self._publisher.committed(outcome.positions, outcome.publications)
            if outcome.logged:
                self._note_logged()

        future.add_done_callback(ended)
        return done

    async def read(self, work: Callable[[Store], T], *, single: bool = False) -> T:
        """The result of `work` on one snapshot. `single`: it sends one statement, so no BEGIN and COMMIT.

        Raises Unavailable at once if too many reads wait already.
        """
        return await self._look(self._readers, work, single)

    async def read_long(self, work: Callable[[Store], T]) -> T:
        """As `read`, for what takes many milliseconds: it has threads of its own."""
        return await self._look(self._long_readers, work, False)

    @property
    def waiting(self) -> Mapping[str, int]:
        """By pool: how many pieces of work no thread has taken yet."""
        return {pool.name: pool.waiting for pool in (self._writers, self._readers, self._long_readers)}

    async def settle(self, seconds: float = 30.0) -> None:
        """Returns when every write that is under way has ended, cancelled callers' included, or after `seconds`.

        A write whose COMMIT was cut off waits for the database to say what became of it: maybe for ever.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._under_way and loop.time() < until:
            await asyncio.wait(list(self._under_way), timeout=until - loop.time())

    def close(self) -> None:
        """Waits for what runs; who waits for a database that is away gives up."""
        self._closing.set()
        for pool in (self._writers, self._readers, self._long_readers):
            pool.close()
        self._engine.dispose()

    async def _lock(self, room: str) -> "_RoomLock":
        """Waits until nobody else writes to the room."""
        lock = self._rooms.get(room)
        if lock is None:
            lock = self._rooms[room] = _RoomLock()
        lock.waiting += 1
        self._writers.hold_back()
        try:
            await lock.lock.acquire()
        except BaseException:
            self._release(room, lock, held=False)
            raise
        finally:
            self._writers.let_go()
        return lock

    def _release(self, room: str, lock: "_RoomLock", *, held: bool) -> None:
        if held:
            lock.lock.release()
        lock.waiting -= 1
        if lock.waiting == 0:
            self._rooms.pop(room, None)

    def _note_logged(self) -> None:
        """A write left a row of write_log. From time to time removes those up to the watermark: they say nothing."""
        self._logged += 1
        if self._logged < PRUNE_EVERY or self._closing.is_set():
            return
        self._logged = 0
        watermark = self._positions.current()
        future = self._writers.submit(partial(self._write, lambda store: store.write_log.prune(watermark, PRUNE_LIMIT)))
        self._under_way.add(future)

        def pruned(finished: asyncio.Future[_Outcome]) -> None:
            self._under_way.discard(finished)
            outcome = finished.result()
            if outcome.error is not None:
                logger.warning("write_log was not pruned: %s", outcome.error)
            elif outcome.result == PRUNE_LIMIT:
                self._logged = PRUNE_EVERY  # there is more

        future.add_done_callback(pruned)

    async def _look(self, pool: Pool, work: Callable[[Store], T], single: bool) -> T:
        pool.admit()
        abandoned = False

        def look() -> T:
            if abandoned:
                raise asyncio.CancelledError
            return self._read(pool, work, single)

        try:
            # Not cancelled with the caller: it would be counted out while it still waits for its thread.
            return await asyncio.shield(pool.submit(look))
        except asyncio.CancelledError:
            abandoned = True
            raise

    def _read(self, pool: Pool, work: Callable[[Store], T], single: bool) -> T:
        patience = Patience(pool, self._closing)
        while True:
            session = transaction = None
            try:
                session = pool.session()
                transaction = Transaction(session, b"" if single else BEGIN_READ)
                result = work(Store(transaction, self._positions, self._numbers, self._caches))
                transaction.commit()
                READ_TRANSACTIONS.inc()
                STATEMENTS.inc(transaction.statements)
                return result
            except BaseException as error:  # the edge of one transaction: whatever happened, it is ended
                again = self._abandon(pool, transaction, error)
                if not again and not isinstance(origin(error), REFUSED):
                    raise
                if not again or not patience.lasts(error, connected=session is not None):
                    raise _gave_up(error) from error

    def _write(self, work: Callable[[Store], Any]) -> _Outcome:
        """Runs in a pool thread. Never raises: the positions of the outcome must reach the publisher."""
        outcome = _Outcome()
        patience = Patience(self._writers, self._closing)
        while True:
            session = transaction = store = result = None
            committing = False
            try:
                session = self._writers.session()
                transaction = Transaction(session, BEGIN_WRITE)
                store = Store(transaction, self._positions, self._numbers, self._caches)
                result = work(store)
                store.leave_trace()
                committing = True
                transaction.commit()
                return outcome.succeed(store, result)
            except BaseException as error:  # the edge of one transaction: whatever happened, it is ended
                again = self._abandon(self._writers, transaction, error)
                cut = committing and again and not isinstance(origin(error), RETRIED)
                if cut and store is not None and session is not None and store.trace:
                    try:
                        if self._was_committed(store.trace, session.backend):
                            return outcome.succeed(store, result)
                    except Unavailable as unknown:
                        # Nobody knows: its positions stay unfinished, so that nothing after them is shown.
                        outcome.error = unknown
                        return outcome
                if store is not None:
                    outcome.positions += store.positions
                    store.after_commit.clear()
                if again and patience.lasts(error, connected=session is not None):
                    _retried.inc()
                    continue
                outcome.error = _gave_up(error) if again or isinstance(origin(error), REFUSED) else error
                _failed.inc()
                return outcome

    def _abandon(self, pool: Pool, transaction: Transaction | None, error: BaseException) -> bool:
        """Leaves the connection clean, or drops it. True if the work may be tried again."""
        cause = origin(error)
        # A connection that may not write leads to the wrong server, or was made while nobody might: another is tried.
        lost = (psycopg2.OperationalError, psycopg2.InterfaceError, pg.ReadOnlySqlTransaction)
        broken = isinstance(cause, lost) and not isinstance(cause, REFUSED + RETRIED)
        if not broken and transaction is not None:
            try:
                transaction.roll_back()
            except psycopg2.Error:
                broken = True
        if broken:
            pool.discard()
        return broken or isinstance(cause, RETRIED)

    def _was_committed(self, trace: str, backend: int) -> bool:
        """After a COMMIT without an answer: did it happen? Asked once nobody can commit it any more."""
        told = False
        while not self._closing.is_set():
            try:
                with self._engine.connect() as connection:
                    # After a restart the number may be another's: one that is not ours is left alone.
                    others = (
                        f"FROM pg_stat_activity WHERE pid = {backend} AND pid <> pg_backend_pid()"
                        " AND usename = current_user AND datname = current_database()"
                    )
                    connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {others}")
                    gone = connection.exec_driver_sql(f"SELECT NOT EXISTS (SELECT {others})").scalar_one()
                    if gone:
                        return connection.exec_driver_sql(trace).first() is not None
            except DBAPIError as away:
                if not told:
                    logger.warning("cannot ask yet whether a write was committed: %s", str(away.orig).strip())
                told = True
            self._closing.wait(0.1)
        raise Unavailable("The server stops, and the database does not answer")


class _RoomLock:
    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


def _gave_up(error: BaseException) -> Unavailable:
    """What the caller is told of a database that was away or too busy all the time."""
    logger.error("gave up on the database: %s", str(origin(error)).strip())
    return Unavailable("The database does not answer at the moment. Try again later")
