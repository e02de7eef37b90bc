"""`python -m tests.fuzz --cases 10000 [--seed N]`: fuzzes every endpoint of clients, and those of other
servers with a fifth as many cases. Exit status 1: it found something.

The same seed gives the same cases, as long as the server answers the same. Time and memory are bounded here, and not in
the short run of the tests: how fast a machine is decides no test.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from homeserver.http.routing import Route
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.certificate import CertificateAuthority
from tests.builders.cluster import Cluster, running_cluster
from tests.builders.house import open_house
from tests.clients.conftest import serve
from tests.federation.hostile import hostile_server
from tests.federation.ours import open_ours
from tests.fuzz import abroad, routes
from tests.fuzz.abroad import fuzz_abroad
from tests.fuzz.run import Report, fuzz

# Of one request, on a machine with other work; the long-polls of the cases wait for 20 ms, and other servers' keys are
# waited for longer than anything else.
SLOWEST_SECONDS = 20.0
# What this process, which is the server and the clients, may hold more at last than after a quarter of the cases.
GROWTH_MIB = 150.0
# One case of servers for so many of clients.
RATIO = 5


async def run(cluster: Cluster, cases: int, seed: int) -> Report:
    async with open_house(cluster) as house, serve(house) as served:
        held: dict[int, float] = {}

        def watch(number: int) -> None:
            if number in (cases // 4, cases):
                held[number] = memory()

        report = await fuzz(served, cases, seed, watch)
    growth = held.get(cases, 0.0) - held.get(cases // 4, 0.0)
    say(f"memory: {growth:+.0f} MiB")
    if growth > GROWTH_MIB:
        report.findings["memory"] = f"memory grew by {growth:.0f} MiB"
    return report


async def run_abroad(cluster: Cluster, cases: int, seed: int) -> Report:
    with tempfile.TemporaryDirectory(prefix="parley-fuzz-") as directory:
        authority = CertificateAuthority.make(Path(directory))
        async with open_ours(cluster, authority) as ours, hostile_server(ours, authority) as peer:
            return await fuzz_abroad(ours, peer, cases, seed)


def memory() -> float:
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def tell(report: Report, declared: Sequence[Route]) -> None:
    for label in (route.label for route in declared):
        counts = {kind: report.statuses[f"{label} {kind}"] for kind in ("2xx", "4xx", "5xx", "bad")}
        say(f"{label:95} " + " ".join(f"{count:5} {kind}" for kind, count in counts.items() if count))
    seconds, slowest = report.slowest
    size, largest = report.largest
    say(f"slowest: {seconds:.2f} s, {slowest}\nlargest: {size:,} bytes, {largest}")
    if seconds > SLOWEST_SECONDS:
        report.findings["time"] = f"a request took {seconds:.1f} s: {slowest}"
    for finding in report.findings.values():
        say(f"\n{finding}")
    say(f"\n{report.cases} cases, seed {report.seed}: {len(report.findings)} kinds of defects\n")


def unforeseen() -> float:
    """Errors that nobody foresaw, wherever they were caught."""
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "parley_unforeseen_errors_total")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    wanted = parser.parse_args()
    with running_cluster() as cluster, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        of_clients = runner.run(run(cluster, wanted.cases, wanted.seed))
        tell(of_clients, routes.declared_routes())
        of_servers = runner.run(run_abroad(cluster, wanted.cases // RATIO, wanted.seed))
        tell(of_servers, abroad.declared_routes())
    say(f"{unforeseen():g} unforeseen errors")
    return 1 if of_clients.findings or of_servers.findings or unforeseen() else 0


if __name__ == "__main__":
    sys.exit(main())
