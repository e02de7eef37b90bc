"""A server that was just started, on a database with people and rooms, and that nobody asks anything."""

import asyncio

from tests.benchmarks.driver import clock
from tests.benchmarks.machine import memory_of
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario

WATCHED_SECONDS = 5.0


async def run(bench: Bench) -> list[Sample]:
    """Restarts the server, waits until it rests, and looks at its memory and at what it uses at rest."""
    bench.restart()
    meter = bench.meter()
    before, at = await meter.quiet(), clock()
    server, database = (memory_of(bench.server.pids[part]) for part in ("server", "database"))
    await asyncio.sleep(WATCHED_SECONDS)
    used = meter.usage().total - before.total
    return [
        Sample(
            "idle_memory",
            server.resident,
            {"database_mb": database.proportional, "start_cpu_ms": before.server * 1000},
        ),
        Sample("idle_cpu", used * 1000 / (clock() - at), {}),
    ]


SCENARIO = Scenario(
    "idle",
    (
        Operation("idle_memory", "resident memory after start, without PostgreSQL", "MB", at_most=120),
        Operation("idle_cpu", "at rest", "ms CPU a second"),
    ),
    run,
)
