"""The threads of the database: each keeps a connection, and only so much work may wait for them.

A pool is not the database: what runs in its threads, and what becomes of a failure, is decided in
`homeserver.storage.database`. Work that finds too much before it is refused at once and leaves nothing behind, so that
neither memory nor waiting grows with what clients ask for.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from psycopg2 import errors as pg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from homeserver.domain.errors import Unavailable
from homeserver.storage.transaction import Session
from homeserver.telemetry.metrics import DATABASE_REFUSED

R = TypeVar("R")

# How often a transaction is tried that is in conflict with others, or loses its connection.
ATTEMPTS = 8


class Pool:
    """Threads that keep a connection each. A broken connection is replaced at its next use.

    `session`, `discard` and `is_away` are for its threads; everything else lives on the loop.
    """

    def __init__(self, name: str, size: int, engine: Engine, away_seconds: float, most_waiting: int) -> None:
        self.name = name
        self._size = size
        self._engine = engine
        self._away_seconds = away_seconds
        self._most_waiting = most_waiting
        self._local = threading.local()
        self._sessions: list[Session] = []
        # Since when the database has taken no connection, and when it was last tried in vain.
        self._away_since = self._tried_in_vain = 0.0
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)
        # How much was handed to the threads and has not come back, and how much is held back before that.
        self._handed = 0
        self._held_back = 0
        self._refused = DATABASE_REFUSED.labels(name)

    @property
    def waiting(self) -> int:
        """Pieces of work that no thread has taken yet, those included that wait for a room."""
        return self._held_back + max(0, self._handed - self._size)

    def admit(self) -> None:
        """Raises Unavailable if there is no room for another piece of work."""
        if self.waiting >= self._most_waiting:
            self._refused.inc()
            raise Unavailable("Too much waits for the database at the moment. Try again later")

    def hold_back(self) -> None:
        """A piece of work that was admitted waits for something else than a thread, until `let_go`."""
        self._held_back += 1

    def let_go(self) -> None:
        self._held_back -= 1

    def submit(self, function: Callable[[], R]) -> asyncio.Future[R]:
        """Runs `function` in a thread, as soon as one is free. Whoever waits for it must shield it: it goes on."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, function)
        self._handed += 1
        future.add_done_callback(self._come_back)
        return future

    def _come_back(self, future: asyncio.Future[R]) -> None:
        # Whoever waited may have gone: then what came of it is nobody's business, and no error of the loop.
        if not future.cancelled():
            future.exception()
        self._handed -= 1

    def session(self) -> Session:
        """The calling thread's connection."""
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            try:
                session = Session(self._engine.connect())
            except DBAPIError:
                now = time.monotonic()
                if now - self._tried_in_vain > self._away_seconds:
                    self._away_since = now
                self._tried_in_vain = now
                raise
            self._away_since = self._tried_in_vain = 0.0
            self._local.session = session
            self._sessions.append(session)
        return session

    @property
    def is_away(self) -> bool:
        """The database has not been there for so long that nobody should wait for it any more."""
        return self._tried_in_vain - self._away_since > self._away_seconds

    def discard(self) -> None:
        """The calling thread's connection is of no use any more."""
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            self._local.session = None
            self._sessions.remove(session)
            session.connection.invalidate()
            session.connection.close()

    def close(self) -> None:
        """Waits for what runs and closes the connections."""
        self._executor.shutdown(wait=True)
        for session in self._sessions:
            session.connection.close()
        self._sessions.clear()


class Patience:
    """How often and how long one piece of work is tried. Lives in a thread of the pool."""

    def __init__(self, pool: Pool, closing: threading.Event) -> None:
        self._pool = pool
        self._closing = closing
        self._tries = 0
        self._attempts = 0
        self._read_only = 0

    def lasts(self, error: BaseException, *, connected: bool) -> bool:
        """After a failure: False if it was the last one. Else it is time to try again, once this returns."""
        self._tries += 1
        self._attempts += connected
        self._read_only += isinstance(origin(error), pg.ReadOnlySqlTransaction)
        if self._attempts == ATTEMPTS or self._read_only == 2 or (self._pool.is_away and not connected):
            return False
        return not self._closing.wait(min(0.02 * self._tries, 0.5))


def origin(error: BaseException) -> BaseException | None:
    """What psycopg2 raised, beneath SQLAlchemy's wrapping."""
    return error.orig if isinstance(error, DBAPIError) else error
