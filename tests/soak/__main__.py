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
from tests.soak.churn import Churn
from tests.soak.plateau import Point, rests, slope_per_hour
from tests.soak.samples import Sample, Watch

ROOT = Path(__file__).parents[2]
FLOOD_PER_MINUTE = 50_000
# Of the time; the rest shows what is left of it. A machine that cannot open so many takes longer.
FLOOD_SHARE = 0.8
SAMPLES = 40
JUDGED_MINUTES = 10
RSS_SLACK_MIB = 4.0
# Whose rows must not follow what is done, and how far they may swing; interactive_sessions has a bound instead.
PLATEAUS = {
    "write_log": 600.0,
    "sessions": 20.0,
    "devices": 20.0,
    "receipts": 50.0,
    "account_data": 20.0,
    "filters": 20.0,
    "profiles": 20.0,
    "forgotten": 50.0,
    "invite_states": 20.0,
    "registration_tokens": 0.0,
    "rule_sets": 20.0,
    "rule_classes": 20.0,
}
BOUNDS = {"interactive_sessions": 10_000}
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
    tables = " ".join(f"{name}={sample.tables.get(name, 0)}" for name in ("events", *BOUNDS, *PLATEAUS))
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
    for name, slack in PLATEAUS.items():
        points: list[Point] = [(sample.seconds, float(sample.tables[name])) for sample in samples]
        say(f"{name:22} {points[0][1]:8g} -> {points[-1][1]:8g}  {slope_per_hour(points):+10.1f}/h")
        if not rests(points, slack):
            wrong.append(f"table {name}")
    for name, bound in BOUNDS.items():
        most = max(sample.tables[name] for sample in samples)
        say(f"{name:22} at most {most}, bound {bound}")
        # One transaction may add before the next one takes away.
        if most > bound * 1.01:
            wrong.append(f"table {name}")
    if left >= LEFT_OVER:
        wrong.append("connections of strangers")
    return wrong


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
