"""Ten thousand live clients on one Parley, half on long-poll and half on WebSockets: `tests/benchmarks/crowd.py`.

Only Parley is measured: there is no ratio in it. It is a server of its own, on which nothing else was.
"""

import shutil

from tests.benchmarks.crowd import Findings, measure
from tests.benchmarks.progress import note
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect

# The followers of the other scenarios are a hundred.
CLIENTS_FOR_EACH_FOLLOWER = 100
SECONDS_FOR_EACH_STEADY_SECOND = 1.5

LATENCY = Operation("crowd", "10,000 live clients, 40 messages a second to rooms of 100", "ms p99", at_most=100)
MEMORY = Operation("crowd_memory", "10,000 live clients: resident memory, without PostgreSQL", "MB", at_most=400)
BACK = Operation("crowd_back", "10,000 live clients: all live again after a restart", "s", at_most=60)
STATEMENTS = Operation(
    "crowd_statements", "10,000 live clients: statements of a comeback, beside a quiet one", "times", at_most=1.05
)


async def run(bench: Bench) -> list[Sample]:
    """Everybody hears everything, before and after a restart."""
    if bench.server.name != "parley":
        return []
    clients = CLIENTS_FOR_EACH_FOLLOWER * bench.scale.followers
    seconds = SECONDS_FOR_EACH_STEADY_SECOND * bench.scale.steady_seconds
    workspace = bench.server.directory.parent / "crowd"
    shutil.rmtree(workspace, ignore_errors=True)
    found = await measure(workspace, clients, seconds, note)
    shutil.rmtree(workspace)
    expect(found.deliveries > 0, "nothing was delivered")
    return samples(found)


def samples(found: Findings) -> list[Sample]:
    latency = {
        "p50_ms": found.p50_ms,
        "p99_ms": found.p99_ms,
        "count": found.deliveries,
        "cpu_ms": found.cpu_ms,
        "foreign_load": found.foreign_load,
    }
    statements = {"quiet": found.statements_quiet, "crowd": found.statements_crowd}
    return [
        Sample(LATENCY.key, found.p99_ms, latency),
        Sample(MEMORY.key, found.memory_mb, {"idle_mb": found.idle_memory_mb}),
        Sample(BACK.key, found.back_after_s, {}),
        Sample(STATEMENTS.key, found.statements_crowd / found.statements_quiet, statements),
    ]


SCENARIO = Scenario("crowd", (LATENCY, MEMORY, BACK, STATEMENTS), run)
