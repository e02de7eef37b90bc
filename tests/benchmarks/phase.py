"""A measured stretch of work: the CPU of server and database from its start until both are quiet again.

Work that a server puts off until after its answer is thereby charged to the operation that caused it.
"""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from tests.benchmarks.driver import clock
from tests.benchmarks.machine import busy_seconds, cpu_seconds
from tests.benchmarks.results import Sample, percentile

QUIET_WINDOW_SECONDS = 0.25
QUIET_WINDOWS = 2
QUIET_SHARE_OF_A_CORE = 0.06  # Synapse at rest uses 1 to 4 % on a busy machine
LONGEST_UNREST_SECONDS = 240.0


class NeverQuiet(Exception):
    """The server kept working long after the last request."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far."""

    server: float
    database: float

    @property
    def total(self) -> float:
        return self.server + self.database


class Meter:
    """Reads what one server and its database have used."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids

    def usage(self) -> Usage:
        return Usage(cpu_seconds(self._pids["server"]), cpu_seconds(self._pids["database"]))

    async def quiet(self) -> Usage:
        """Waits until server and database rest, and says what they have used by then."""
        deadline = clock() + LONGEST_UNREST_SECONDS
        before, at, still = self.usage(), clock(), 0
        while still < QUIET_WINDOWS:
            if clock() > deadline:
                raise NeverQuiet(f"still at work {LONGEST_UNREST_SECONDS:.0f} seconds after the last request")
            await asyncio.sleep(QUIET_WINDOW_SECONDS)
            after, now = self.usage(), clock()
            rests = after.total - before.total <= QUIET_SHARE_OF_A_CORE * (now - at)
            still = still + 1 if rests else 0
            before, at = after, now
        return before


class Phase:
    """`async with Phase(meter) as phase: ...`, and then `phase.sample(...)`.

    The driver's garbage collector rests meanwhile, so that its pauses are in no latency.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    async def __aenter__(self) -> "Phase":
        gc.collect()
        self._before = await self._meter.quiet()
        self._busy_before = busy_seconds()
        self._driver_before = time.process_time()
        gc.disable()
        self._started = clock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answered = clock()
        gc.enable()
        if kind is not None:
            return
        self._driver = time.process_time() - self._driver_before
        after = await self._meter.quiet()
        ended = clock()
        self._used = Usage(after.server - self._before.server, after.database - self._before.database)
        own = self._used.total + time.process_time() - self._driver_before
        self._foreign = max(0.0, busy_seconds() - self._busy_before - own) / (ended - self._started)
        self._unrest = ended - self._answered

    @property
    def seconds(self) -> float:
        """From the start to the last answer."""
        return self._answered - self._started

    def sample(self, operation: str, count: int, latencies: Sequence[float]) -> Sample:
        """CPU per operation of `count` operations, with the spread of their latencies in milliseconds."""
        return Sample(
            operation,
            self._used.total * 1000 / count,
            {
                "count": count,
                "server_ms": self._used.server * 1000 / count,
                "database_ms": self._used.database * 1000 / count,
                "p50_ms": percentile(latencies, 0.50),
                "p99_ms": percentile(latencies, 0.99),
                "per_second": count / self.seconds,
                "driver_ms": self._driver * 1000 / count,
                "foreign_load": self._foreign,
                "quiet_after_s": self._unrest,
            },
        )
