"""Acting upon the stream, some time after it happened: a named cursor that only moves forward.

    read a batch after the cursor, act upon it, save the cursor; when there is nothing, wait for a publication

A batch is acted upon at least once: after a crash, the part since the last save comes again, so acts are idempotent.
Nothing is ever skipped: an act that fails is tried again until it succeeds, so it must hand what may fail for one
destination only to a queue of that destination. What is read comes from the tables, never above the watermark, so a
follower may lie behind by any distance.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from homeserver.domain.errors import Unavailable
from homeserver.streams.notifier import Watcher
from homeserver.streams.publications import EventItem, Publication
from homeserver.telemetry.metrics import FOLLOWER_LAG, UNFORESEEN_ERRORS

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
logger = logging.getLogger(__name__)

BATCH = 100
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# The cursor is saved over a stretch with nothing to act upon only this often: most publications are not events.
SAVE_EVERY = 1_000


class Source(Protocol[T_co]):
    """Where a follower reads, and where its cursor is kept."""

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, T_co]]:
        """(position, item) with after < position <= upto in order, the first `limit` of them, and what shares the
        position of the last one."""

    async def find_cursor(self, name: str) -> int | None:
        """Up to where the follower has acted; None if it never ran."""

    async def save_cursor(self, name: str, position: int) -> None:
        """It has acted upon everything up to `position`."""


class Watermark(Protocol):
    """`homeserver.streams.publisher.Publisher` is one."""

    def current(self) -> int: ...
    def listen(self, listener: Callable[[Publication], None]) -> None: ...


class Follower(Generic[T]):
    """Not thread-safe: lives on the loop.

    `begin`: where a follower starts that never ran: 0 for everything there is, None for what comes from now on.
    `gather`: so many seconds it waits for more to come before it acts, if that may take so long.
    `concerns`: whether an event is one that `source` lists; others do not wake it.
    """

    def __init__(
        self,
        name: str,
        source: Source[T],
        watermark: Watermark,
        act: Callable[[Sequence[T]], Awaitable[None]],
        *,
        begin: int | None = None,
        gather: float = 0.0,
        first_pause: float = FIRST_PAUSE,
        concerns: Callable[[EventItem], bool] | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._watermark = watermark
        self._act = act
        self._begin = begin
        self._gather = gather
        self._first_pause = first_pause
        self._concerns = concerns
        self._cursor: int | None = None
        self._saved = 0
        self._stopping = False
        self._news, self._end = Watcher(), Watcher()
        self._lag = FOLLOWER_LAG.labels(name)
        self._failed = UNFORESEEN_ERRORS.labels("follower")
        watermark.listen(self._heard)

    async def run(self) -> None:
        """Follows until `stop`, or until it is cancelled, which is safe at any moment."""
        pause = self._first_pause
        while not self._stopping:
            try:
                more = await self._step()
            except Exception as error:
                # The edge of one batch: whatever it was, the same batch comes again.
                if isinstance(error, Unavailable):
                    logger.warning("the follower %s waits: %s", self._name, error)
                else:
                    logger.exception("the follower %s failed, and tries again in %.1f s", self._name, pause)
                    self._failed.inc()
                await self._end.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = self._first_pause
            if not more:
                await self._news.wait(LONGEST_PAUSE)
                if self._gather:
                    await self._end.wait(self._gather)

    def stop(self) -> None:
        """`run` returns after the batch that it is at."""
        self._stopping = True
        self._news.wake()
        self._end.wake()

    async def _step(self) -> bool:
        """Acts upon one batch. False if it is up to date."""
        self._news.stirred = False  # before the watermark is read: what comes later wakes
        upto = self._watermark.current()
        cursor = self._cursor
        if cursor is None:
            cursor = self._saved = await self._find_or_begin(upto)
        self._lag.set(max(0, upto - cursor))
        if cursor >= upto:
            self._cursor = cursor
            return False
        batch = await self._source.list_batch(cursor, upto, BATCH)
        if batch:
            await self._act([item for _, item in batch])
        is_full = len(batch) >= BATCH
        cursor = batch[-1][0] if is_full else upto
        if batch or cursor - self._saved >= SAVE_EVERY:
            await self._source.save_cursor(self._name, cursor)
            self._saved = cursor
        self._cursor = cursor
        self._lag.set(upto - cursor)
        return is_full

    async def _find_or_begin(self, upto: int) -> int:
        cursor = await self._source.find_cursor(self._name)
        if cursor is None:
            cursor = upto if self._begin is None else self._begin
            await self._source.save_cursor(self._name, cursor)
        return cursor

    def _heard(self, publication: Publication) -> None:
        item = publication.item
        if isinstance(item, EventItem) and (self._concerns is None or self._concerns(item)):
            self._news.wake()
