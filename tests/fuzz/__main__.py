"""`python -m tests.fuzz --cases 10000 [--seed N]`: fuzzes every endpoint of clients. Exit status 1: it found one.

The same seed gives the same cases, as long as the server answers the same.
"""

import argparse
import asyncio
import secrets
import sys

import uvloop

from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import Cluster, running_cluster
from tests.builders.house import open_house
from tests.clients.conftest import serve
from tests.fuzz.routes import declared_routes
from tests.fuzz.run import Report, fuzz


async def run(cluster: Cluster, cases: int, seed: int) -> Report:
    async with open_house(cluster) as house, serve(house) as served:
        return await fuzz(served, cases, seed)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    with running_cluster() as cluster, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run(cluster, arguments.cases, arguments.seed))
    for label in (route.label for route in declared_routes()):
        counts = {kind: report.statuses[f"{label} {kind}"] for kind in ("2xx", "4xx", "5xx", "bad")}
        say(f"{label:95} " + " ".join(f"{count:5} {kind}" for kind, count in counts.items() if count))
    for finding in report.findings.values():
        say(f"\n{finding}")
    unforeseen = REGISTRY.get_sample_value("parley_unforeseen_errors_total", {"where": "http"}) or 0
    say(f"\n{report.cases} cases, seed {report.seed}: {len(report.findings)} kinds of defects, {unforeseen:g} errors")
    return 1 if report.findings or unforeseen else 0


if __name__ == "__main__":
    sys.exit(main())
