"""`python -m tests.benchmarks`: Parley and Synapse under the same load, in turn, and a table of their ratios.

The method is described in docs/reference/performance.md.  This is not part of the tests that pytest runs.
"""

import argparse
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop

from tests.benchmarks import growth
from tests.benchmarks.growth import SCENARIO_ERRORS, Growth
from tests.benchmarks.machine import Cores, ProcessGone, choose_cores, describe, pin_driver
from tests.benchmarks.postgres import SETTINGS, Cluster, ClusterFailed
from tests.benchmarks.prepared import prepare
from tests.benchmarks.progress import note
from tests.benchmarks.results import Failure, Operation, Row, Sample, as_json, median_rows
from tests.benchmarks.scenario import Bench, Scenario
from tests.benchmarks.scenarios.catalogue import SCENARIOS
from tests.benchmarks.scenery import SCALES
from tests.benchmarks.servers import KINDS, ROOT, ServerFailed
from tests.benchmarks.table import report, write_into

CACHE = ROOT / ".cache" / "bench"
DOCUMENT = ROOT / "docs" / "reference" / "performance.md"
GROWTH = "growth"
PEAK = Operation("peak_memory", "resident memory at its peak, without PostgreSQL", "MB", at_most=200)


@dataclass(frozen=True)
class Choice:
    """What the command line asks for."""

    scenarios: tuple[Scenario, ...]
    growth: bool
    servers: tuple[str, ...]
    rounds: int
    scale: str
    write_docs: bool


@dataclass
class Outcome:
    """What a run has found."""

    environment: dict[str, str]
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    growth: Growth | str = "Growth was not measured."

    def operations(self, scenarios: tuple[Scenario, ...]) -> list[Operation]:
        return [operation for scenario in scenarios for operation in scenario.operations] + [PEAK]

    def rows(self, scenarios: tuple[Scenario, ...]) -> dict[str, dict[str, Row]]:
        operations = self.operations(scenarios)
        return {server: median_rows(operations, samples) for server, samples in self.samples.items()}

    def failed(self, scenarios: tuple[Scenario, ...]) -> set[tuple[str, str]]:
        """(server, operation) pairs of scenarios that failed in any round."""
        names = {(failure.server, failure.scenario) for failure in self.failures}
        return {
            (server, operation.key)
            for server in self.samples
            for scenario in scenarios
            if (server, scenario.name) in names
            for operation in scenario.operations
        }


def arguments() -> Choice:
    """Reads the command line."""
    names = [scenario.name for scenario in SCENARIOS] + [GROWTH]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAMES", default="", help=f"some of: {','.join(names)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each scenario is played (default 3)")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--servers", default="synapse,parley", help="of synapse,parley (default both)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCUMENT.relative_to(ROOT)}")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    servers = [name for name in given.servers.split(",") if name]
    unknown = [name for name in only if name not in names] + [name for name in servers if name not in KINDS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    if given.rounds < 1:
        parser.error("at least one round")
    if given.write_docs and (only or given.scale != "full" or set(servers) != set(KINDS)):
        parser.error("--write-docs wants everything: both servers, all scenarios, full scale")
    return Choice(
        scenarios=tuple(scenario for scenario in SCENARIOS if not only or scenario.name in only),
        growth=not only or GROWTH in only,
        servers=tuple(servers),
        rounds=given.rounds,
        scale=given.scale,
        write_docs=given.write_docs,
    )


async def play(choice: Choice, cores: Cores, workspace: Path) -> Outcome:
    """Starts the servers, plays every round, and stops the servers again."""
    environment = describe(cores) | {
        "PostgreSQL": f"{Cluster.version()}; {', '.join(f'{k}={v}' for k, v in SETTINGS.items() if v)}",
        "taken": time.strftime("%Y-%m-%d, %H:%M UTC", time.gmtime()),
        "rounds": f"{choice.rounds} (medians), {choice.scale} scale",
    }
    outcome = Outcome(environment, {server: [] for server in choice.servers})
    benches: list[Bench] = []
    servers = []
    try:
        for name in choice.servers if choice.scenarios else ():
            server = KINDS[name](workspace / name, cores.servers)
            servers.append(server)
            environment[server.title] = server.version()
            note(f"preparing {server.title}")
            parts = {part for scenario in choice.scenarios for part in scenario.needs}
            benches.append(await prepare(server, SCALES[choice.scale], parts, CACHE / "prepared"))
        for number in range(1, choice.rounds + 1):
            await play_round(number, choice.scenarios, benches, outcome)
        for bench in benches:
            bench.server.note_memory()
            outcome.samples[bench.server.name].append(Sample(PEAK.key, bench.server.peak_memory, {}))
            bench.client.close()
    finally:
        for server in servers:
            server.dispose()
    if choice.growth:
        outcome.growth = await play_growth(choice, cores, workspace)
    return outcome


async def play_round(number: int, scenarios: tuple[Scenario, ...], benches: list[Bench], outcome: Outcome) -> None:
    """Each scenario once on each server, the servers in turn."""
    for scenario in scenarios:
        for bench in benches:
            server = bench.server
            note(f"round {number}: {scenario.name} on {server.title}")
            try:
                samples = await scenario.run(bench)
            except SCENARIO_ERRORS as error:
                note(f"FAILED: {error!r}")
                outcome.failures.append(Failure(scenario.name, server.name, number, str(error) or repr(error)))
                continue
            outcome.samples[server.name] += samples
            for sample in samples:
                foreign = sample.detail.get("foreign_load", 0.0)
                note(f"    {sample.operation} {sample.figure:.3f}, foreign load {foreign:.2f}")


async def play_growth(choice: Choice, cores: Cores, workspace: Path) -> Growth | str:
    """The growth measurement, or the reason why there is none."""
    if "parley" not in choice.servers:
        return "Growth was not measured: Parley is not among the servers of this run."
    if not growth.filler_exists():
        return f"Growth was not measured: there is no {growth.FILLER.relative_to(ROOT)}."
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in growth.SCENARIO_NAMES]
    server = KINDS["parley"](workspace / GROWTH, cores.servers)
    try:
        note("growth: preparing Parley")
        parts = {part for scenario in scenarios for part in scenario.needs}
        bench = await prepare(server, SCALES[choice.scale], parts, CACHE / "prepared")
        note("growth: measuring without, filling, measuring with the events of other rooms")
        events = growth.EVENTS if choice.scale == "full" else growth.EVENTS // 1000
        found = await growth.measure(bench, scenarios, choice.rounds, events)
        bench.client.close()
        return found
    except SCENARIO_ERRORS as error:
        return f"Growth was not measured: {error!r}"
    finally:
        server.dispose()


def save(choice: Choice, outcome: Outcome) -> Path:
    """Everything that was found, as JSON."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    rows = outcome.rows(choice.scenarios)
    document = {
        "environment": outcome.environment,
        "scale": choice.scale,
        "rounds": choice.rounds,
        "samples": {server: [as_json(s) for s in samples] for server, samples in outcome.samples.items()},
        "medians": {server: {key: as_json(row) for key, row in own.items()} for server, own in rows.items()},
        "failures": [as_json(failure) for failure in outcome.failures],
        "growth": outcome.growth if isinstance(outcome.growth, str) else as_json(outcome.growth),
    }
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return path


def main() -> int:
    """Runs the benchmark: 0 if every answer was right, 1 if not, 2 if it could not be run."""
    choice = arguments()
    cores = choose_cores()
    pin_driver(cores)
    workspace = CACHE / "run"
    shutil.rmtree(workspace, ignore_errors=True)
    try:
        outcome = uvloop.run(play(choice, cores, workspace))
    except (ServerFailed, ClusterFailed, ProcessGone, *SCENARIO_ERRORS) as error:
        note(f"{error!r}\nWhat is left of the run is in {workspace}.")
        return 2
    shutil.rmtree(workspace, ignore_errors=True)
    text = report(
        outcome.operations(choice.scenarios),
        outcome.rows(choice.scenarios),
        outcome.environment,
        outcome.failures,
        outcome.failed(choice.scenarios),
        outcome.growth,
    )
    print(text)
    note(f"saved in {save(choice, outcome)}")
    if choice.write_docs:
        write_into(DOCUMENT, text)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
