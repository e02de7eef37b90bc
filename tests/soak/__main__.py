"""`python -m tests.soak --minutes 20`: a real server under churn and a flood; exit status 1 if anything grows on.

The flood is 50,000 connections a minute, 1,000,000 in 20 minutes. Shorter than `JUDGED_MINUTES` a run says what it saw
and does not judge the memory: caches fill for that long.
"""

import argparse
import asyncio
import random
import secrets
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import trustme
import uvloop

from tests.builders.process import ServerProcess, free_port, running_server, server_directory
from tests.soak.churn import DATA_TYPES, PEOPLE, ROOMS, THREADS, Churn
from tests.soak.plateau import Point, rests, slope_per_hour
from tests.soak.samples import SEARCH_LAG, Sample, Watch

ROOT = Path(__file__).parents[2]
FLOOD_PER_MINUTE = 50_000
# Of the time; the rest shows what is left of it. A machine that cannot open so many takes longer.
FLOOD_SHARE = 0.8
SAMPLES = 40
JUDGED_MINUTES = 10
RSS_SLACK_MIB = 4.0
# What follows what is said, as it must: at most so many rows for each event.
HISTORY = {
    "events": 1.0,
    "search": 1.0,
    "relations": 1.0,
    "threads": 0.1,
    "thread_events": 1.0,
    "state_groups": 1.0,
    "state_changes": 1.0,
    "state_merges": 0.1,
    "count_exceptions": 4.0,
    "reports": 0.0,
}
# What somebody may fill up to a bound: of all, or of all the people of the churn.
BOUNDS = {
    "interactive_sessions": 10_000,
    "rule_classes": PEOPLE * 510,
    # For all of a room, and for each of its threads.
    "receipts": PEOPLE * ROOMS * (1 + THREADS),
    # What the churn sets, push rules, ignored people; the tags of each room.
    "account_data": PEOPLE * (DATA_TYPES + 2 + ROOMS),
}
# All other tables must not follow what is done, and may swing so far.
SLACK = 20.0
PLATEAUS = {"write_log": 600.0, "forgotten": 50.0, "current_state": 50.0, "memberships": 50.0}
# Those that are told in every line.
TOLD = ("events", "search", "write_log", "sessions", "receipts", "account_data", "rule_classes", "interactive_sessions")
# Positions by which the index of search may be behind when people have stopped.
SEARCH_BEHIND = 2_000.0
# What is left over from the flood when it has ended.
LEFT_OVER = 100


async def soak(minutes: float, seed: int) -> tuple[list[Sample], Churn, int, float]:
    """The samples, what was done, how many strangers connected, and how many anonymous connections are left."""
    with server_directory() as directory:
        plain, secure = free_port(), free_port()
        arguments = ("--config", str(write_settings(directory, plain, secure)))
        async with running_server(directory, listen=(), arguments=arguments) as server, AsyncExitStack() as stack:
            churn = Churn(server.url, random.Random(seed))
            await churn.begin(stack)
            flood = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.soak.flood", str(plain), str(secure)),
                *(str(int(FLOOD_PER_MINUTE * minutes)), str(60 * minutes * FLOOD_SHARE)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            stop = asyncio.Event()
            try:
                living = asyncio.create_task(churn.run(stop))
                samples = await watched(server, minutes, living)
                stop.set()
                await living
                told, _ = await flood.communicate()
            finally:
                if flood.returncode is None:
                    flood.kill()
            left = await strangers_left(server)
            return samples, churn, int(told), left


def write_settings(directory: Path, plain: int, secure: int) -> Path:
    """Settings with a plain listener and one behind TLS."""
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    (directory / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    settings = directory / "parley.yaml"
    settings.write_text(
        f"listeners:\n  - address: 127.0.0.1:{plain}\n  - address: 127.0.0.1:{secure}\n"
        "    tls:\n      certificate: certificate.pem\n      key: key.pem\n"
    )
    return settings


async def watched(server: ServerProcess, minutes: float, living: asyncio.Task[None]) -> list[Sample]:
    """A sample at the beginning and `SAMPLES` more, each told as it is taken; fewer if `living` breaks."""
    watch = Watch(server)
    samples = [await watch.sample()]
    try:
        for _ in range(SAMPLES):
            await asyncio.wait([living], timeout=60 * minutes / SAMPLES)
            samples.append(await watch.sample())
            tell(samples[-1])
            if living.done():  # it broke, and says so when it is awaited
                break
    finally:
        watch.close()
    return samples


async def strangers_left(server: ServerProcess) -> float:
    """Anonymous connections when the flood has ended, once there are few, or after a while."""
    for _ in range(100):
        left = await server.metric("parley_http_connections_anonymous")
        if left < LEFT_OVER:
            break
        await asyncio.sleep(0.2)
    return left


def tell(sample: Sample) -> None:
    gauges = " ".join(f"{name}={value:g}" for name, value in sample.gauges.items())
    tables = " ".join(f"{name}={sample.tables.get(name, 0)}" for name in TOLD)
    say(f"{sample.seconds:6.0f} s  {sample.rss:6.1f} MiB  {gauges}  {tables}")


def judge(samples: list[Sample], minutes: float, left: float) -> list[str]:
    """What grows on, in words."""
    memory = [(sample.seconds, sample.rss) for sample in samples]
    say(f"\nmemory: {memory[0][1]:.1f} MiB at first, {memory[-1][1]:.1f} at last, {slope_per_hour(memory):+.1f} MiB/h")
    wrong: list[str] = []
    if minutes < JUDGED_MINUTES:
        say(f"too short to judge: the memory is judged from {JUDGED_MINUTES} minutes on")
    elif not rests(memory, RSS_SLACK_MIB):
        wrong.append("memory")
    wrong += [f"table {name}" for name in samples[-1].tables if not is_bounded(name, samples)]
    behind = [sample.gauges.get(SEARCH_LAG, 0.0) for sample in samples]
    say(f"search was {behind[-1]:g} positions behind at last, and {max(behind):g} at most")
    if behind[-1] > SEARCH_BEHIND:
        wrong.append("the index of search is left behind")
    if left >= LEFT_OVER:
        wrong.append("connections of strangers")
    return wrong


def is_bounded(name: str, samples: list[Sample]) -> bool:
    """Whether a table has as many rows as it may have, or came to rest."""
    points: list[Point] = [(sample.seconds, float(sample.tables.get(name, 0))) for sample in samples]
    rows, events = points[-1][1], samples[-1].tables["events"]
    if name in HISTORY:
        good, why = rows <= events * HISTORY[name], f"{rows / events:.2f} for each event, at most {HISTORY[name]:g}"
    elif name in BOUNDS:
        # One transaction may add before the next one takes away.
        good, why = max(value for _, value in points) <= BOUNDS[name] * 1.01, f"at most {BOUNDS[name]:,}"
    else:
        good, why = rests(points, PLATEAUS.get(name, SLACK)), "at rest"
    if rows or not good:
        change = f"{points[0][1]:8g} -> {rows:8g}  {slope_per_hour(points):+10.1f}/h"
        say(f"{name:22} {change}  {'' if good else 'GROWS, and should not: '}{why}")
    return good


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        samples, churn, strangers, left = runner.run(soak(arguments.minutes, arguments.seed))
    say(f"\nseed {arguments.seed}; {strangers} connections of strangers, {left:g} left; " + str(dict(churn.done)))
    wrong = judge(samples, arguments.minutes, left)
    say(f"\ngrows on: {', '.join(wrong)}" if wrong else "\nall at rest")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
