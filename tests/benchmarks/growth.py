"""Whether Parley costs the same on a database that holds 1,000,000 events of other rooms as on one without them.

Only Parley is measured: some scenarios, then the filling, then the same scenarios again, on the same cluster.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.driver import ConnectionLost
from tests.benchmarks.matrix import Refused
from tests.benchmarks.phase import NeverQuiet
from tests.benchmarks.results import Row, Sample, median_rows
from tests.benchmarks.scenario import Bench, Scenario, WrongAnswer
from tests.benchmarks.servers import ROOT, Server

FILLER = ROOT / "scripts" / "fill-events"
EVENTS = 1_000_000
SCENARIO_NAMES = frozenset({"send_sequential", "send_20_rooms", "messages_page", "join_large", "create_room"})
MOST_TIMES = 1.15
# Each round of the table is so many here: one alone is good to 20 % only.
PLAYS = 5
SCENARIO_ERRORS = (WrongAnswer, Refused, ConnectionLost, NeverQuiet, TimeoutError, OSError)


@dataclass(frozen=True)
class Growth:
    """The figures without and with the events of other rooms."""

    events: int
    empty: dict[str, Row]
    filled: dict[str, Row]


def filler_exists() -> bool:
    """Whether there is a script to fill the database with."""
    return FILLER.exists()


def fill(server: Server, events: int) -> None:
    """Puts events of rooms that no scenario touches into the database, while the server is stopped."""
    server.stop_server()
    command: list[str | Path] = [sys.executable, FILLER, "--database-url", server.cluster.url, "--events", str(events)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{FILLER} failed: {done.stderr[-2000:]}")
    server.cluster.execute("VACUUM (ANALYZE)")
    # As before the first figures: else the checkpoint of all that was filled in would work on in the middle of these.
    server.stop()
    server.start()


async def measure(bench: Bench, scenarios: list[Scenario], rounds: int, events: int) -> Growth:
    """Plays the scenarios, fills, and plays them again.  An answer that is wrong ends it."""
    empty = await _play(bench, scenarios, rounds)
    bench.client.close()
    fill(bench.server, events)
    return Growth(events, empty, await _play(bench, scenarios, rounds))


async def _play(bench: Bench, scenarios: list[Scenario], rounds: int) -> dict[str, Row]:
    samples: list[Sample] = []
    for _ in range(rounds * PLAYS):
        for scenario in scenarios:
            samples += await scenario.run(bench)
    return median_rows([operation for scenario in scenarios for operation in scenario.operations], samples)
