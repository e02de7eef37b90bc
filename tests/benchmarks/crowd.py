"""`python -m tests.benchmarks.crowd --clients 1000`: thousands of live clients on one Parley, driven from one process.

Half of them wait on long-poll, half on WebSockets, each a user of its own in a room of a hundred. Messages come at a
steady rate, each due at its moment, so that a server that cannot keep up shows its queue. Then the server is restarted
while they go on coming, and everybody comes back as the documentation wants it. What is found: how late messages
arrive, what a delivery costs, resident memory, when everybody was live again, and how many statements it took to come
back, beside a comeback when all is quiet.

As a scenario of the benchmark: `scenarios/crowd.py`. Not here: the clients (`crowd_clients`), and how people and rooms
came to be (`crowd_scenery`).
"""

import argparse
import asyncio
import gc
import random
import resource
import shutil
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import uvloop

from tests.benchmarks.crowd_clients import Crowd, LongPoll, OnSocket
from tests.benchmarks.crowd_scenery import ROOM_SIZE, Gathering, gather
from tests.benchmarks.driver import ConnectionLost, clock
from tests.benchmarks.machine import busy_seconds, choose_cores, memory_of, pin_driver
from tests.benchmarks.matrix import Refused, at_most
from tests.benchmarks.phase import Meter
from tests.benchmarks.progress import note
from tests.benchmarks.results import percentile
from tests.benchmarks.servers import ROOT, Parley, Server

# Forty in all, with ten thousand clients.
RATE_OF_ROOM = 0.4
QUIET_COMEBACKS = 50
MISSED_MESSAGES = 4
# So many clients come each second at first.
COMING_RATE = 200
LONGEST_COMING_SECONDS = 600.0
LONGEST_HEARING_SECONDS = 240.0
LONGEST_COMEBACK_SECONDS = 300.0
# Ten thousand heartbeats and empty answers are no quiet: a server that does no more than these is at rest.
REST_SHARE_OF_A_CORE = 0.3
REST_WINDOW_SECONDS = 2.0
NOTE_SECONDS = 10.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Findings:
    """Milliseconds, megabytes, seconds, and statements for each client that came back."""

    clients: int
    deliveries: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    foreign_load: float
    memory_mb: float
    idle_memory_mb: float
    back_after_s: float
    statements_quiet: float
    statements_crowd: float


def metric(server: Server, name: str) -> float:
    """A figure of /metrics."""
    with urllib.request.urlopen(f"{server.base_url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split(" ")[0].split("{")[0] == name)


class Play:
    """One crowd on one server."""

    def __init__(self, server: Parley, gathering: Gathering, note: Callable[[str], None]) -> None:
        self._server = server
        self._gathering = gathering
        self._note = note
        self._crowd = Crowd()
        self._sizes = list(gathering.sizes())
        self._clients: list[LongPoll | OnSocket] = []
        self._sent = 0
        self._said = 0

    async def run(self, seconds: float) -> Findings:
        quiet, of_message = await self._quiet()
        await self._come()
        try:
            idle = self._resident()
            await self._all_hear(await self._one_for_each_room())
            self._note(f"{len(self._gathering.rooms) * RATE_OF_ROOM:g} messages a second for {seconds:g} seconds")
            latencies, cpu, foreign = await self._measured(seconds)
            memory = self._resident()
            self._note(f"{len(latencies)} deliveries, p99 {percentile(latencies, 0.99):.0f} ms, {memory:.0f} MB")
            back, statements = await self._restart(of_message)
        finally:
            self._crowd.is_over = True
            for client in self._clients:
                client.leave()
        return Findings(
            clients=len(self._clients),
            deliveries=len(latencies),
            p50_ms=percentile(latencies, 0.5),
            p99_ms=percentile(latencies, 0.99),
            cpu_ms=cpu * 1000 / len(latencies),
            foreign_load=foreign,
            memory_mb=memory,
            idle_memory_mb=idle,
            back_after_s=back,
            statements_quiet=quiet,
            statements_crowd=statements,
        )

    def _resident(self) -> float:
        return memory_of(self._server.pids["server"]).resident

    async def _statements(self) -> float:
        return await asyncio.to_thread(metric, self._server, "parley_statements_total")

    # when all is quiet

    async def _quiet(self) -> tuple[float, float]:
        """Statements of a comeback when nothing else happens, and of one message.

        Those who come back have missed a few messages, as everybody does whose server is restarted under load.
        """
        self._note(f"{QUIET_COMEBACKS} come back when all is quiet")
        before = await self._statements()
        for _ in range(MISSED_MESSAGES):
            await self._say(0)
        of_message = (await self._statements() - before) / MISSED_MESSAGES
        await self._restart_server()
        before = await self._statements()
        some = list(zip(self._gathering.people, self._gathering.since, strict=True))[: min(QUIET_COMEBACKS, ROOM_SIZE)]
        await at_most(4, lambda one: one[0].get(f"/sync?set_presence=offline&timeout=1000&since={one[1]}"), some)
        return (await self._statements() - before) / len(some), of_message

    async def _restart_server(self) -> None:
        self._gathering.people[0].client.close()
        await asyncio.to_thread(self._server.restart)

    # everybody

    async def _come(self) -> None:
        people = zip(self._gathering.people, self._gathering.since, strict=True)
        for number, (person, since) in enumerate(people):
            kind = LongPoll if number % 2 else OnSocket
            self._clients.append(kind(self._crowd, person, since, self._server.port))
        loop = asyncio.get_running_loop()
        for number, client in enumerate(random.sample(self._clients, len(self._clients))):
            loop.call_later(number / COMING_RATE, client.come)
        async with self._noting(lambda: f"{self._crowd.asking} wait"):
            await _until(lambda: self._crowd.asking == len(self._clients), LONGEST_COMING_SECONDS, "all come")
            async with asyncio.timeout(LONGEST_COMING_SECONDS):
                await self._rest()
        self._note(f"all wait; {self._resident():.0f} MB")

    async def _rest(self) -> None:
        """Returns when the server has told everybody who came online."""
        meter = Meter(self._server.pids)
        rests = 0
        while rests < 2:
            before, at = meter.usage(), clock()
            await asyncio.sleep(REST_WINDOW_SECONDS)
            share = (meter.usage().total - before.total) / (clock() - at)
            rests = rests + 1 if share < REST_SHARE_OF_A_CORE else 0

    @asynccontextmanager
    async def _noting(self, what: Callable[[], str]) -> AsyncIterator[None]:
        """Says now and then how far things have come."""

        async def go_on() -> None:
            while True:
                await asyncio.sleep(NOTE_SECONDS)
                self._note(what())

        noting = asyncio.create_task(go_on())
        try:
            yield
        finally:
            noting.cancel()

    async def _say(self, room: int) -> bytes | None:
        """A message, due now. None if the server does not take it: it is being restarted."""
        self._sent += 1
        text = f"{self._sent}"
        mark = text.encode()
        self._crowd.due[mark] = clock()
        sender = self._gathering.people[room * ROOM_SIZE]
        try:
            await sender.send(self._gathering.rooms[room], f"crowd {text}")
        except (Refused, ConnectionLost, OSError):
            del self._crowd.due[mark]
            return None
        self._said += 1
        return mark

    async def _one_for_each_room(self) -> dict[bytes, int]:
        marks = await at_most(4, self._say, range(len(self._sizes)))
        return {mark: size for mark, size in zip(marks, self._sizes, strict=True) if mark is not None}

    async def _talk(self, seconds: float) -> dict[bytes, int]:
        """Messages at a steady rate, over all rooms in turn: how many are to hear each that the server took."""
        started, number, sends = clock(), 0, dict[asyncio.Task[bytes | None], int]()
        try:
            while clock() - started < seconds:
                number += 1
                due = started + number / (RATE_OF_ROOM * len(self._sizes))
                await asyncio.sleep(max(0.0, due - clock()))
                room = number % len(self._sizes)
                sends[asyncio.create_task(self._say(room))] = self._sizes[room]
            marks = await asyncio.gather(*sends)
        finally:
            for send in sends:
                send.cancel()
        return {mark: size for mark, size in zip(marks, sends.values(), strict=True) if mark is not None}

    async def _all_hear(self, wanted: dict[bytes, int]) -> None:
        """Returns when everybody has heard all of it. Raises TimeoutError."""
        heard = self._crowd.heard
        left = set(wanted)

        def is_all_heard() -> bool:
            left.difference_update([mark for mark in left if heard.get(mark, 0) >= wanted[mark]])
            return not left

        await _until(is_all_heard, LONGEST_HEARING_SECONDS, "everybody hears everything")
        if any(heard[mark] != size for mark, size in wanted.items()):
            raise Refused("a message was delivered twice")

    async def _measured(self, seconds: float) -> tuple[list[float], float, float]:
        """How late each delivery was, the CPU seconds of server and database for all of it, and the cores that others
        kept busy meanwhile."""
        self._crowd.latencies.clear()
        # The driver's own pauses are in no latency.
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            meter = Meter(self._server.pids)
            started, before, busy, own = clock(), meter.usage(), busy_seconds(), time.process_time()
            await self._all_hear(await self._talk(seconds))
            cpu = meter.usage().total - before.total
            foreign = busy_seconds() - busy - cpu - (time.process_time() - own)
        finally:
            gc.enable()
        return list(self._crowd.latencies), cpu, max(0.0, foreign) / (clock() - started)

    async def _restart(self, of_message: float) -> tuple[float, float]:
        """Seconds from the stop until everybody is live again, and the statements of each."""
        self._note("restarting")
        restarted = clock()
        talking = asyncio.create_task(self._talk(LONGEST_COMEBACK_SECONDS))
        try:
            await self._restart_server()
            self._note(f"the server is back after {clock() - restarted:.0f} s")
            self._crowd.nobody_is_live()
            before, said = await self._statements(), self._said
            try:
                async with self._noting(lambda: f"{self._crowd.live} are live"):
                    await _until(lambda: self._crowd.live == len(self._clients), LONGEST_COMEBACK_SECONDS, "all live")
            except TimeoutError:
                # Too slow is a figure too, and no reason to lose the others.
                self._note(f"given up: {self._crowd.live} of {len(self._clients)} are live")
            back = clock() - restarted
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
        # What the messages took meanwhile is not theirs.
        statements = await self._statements() - before - of_message * (self._said - said)
        return back, max(0.0, statements) / len(self._clients)


async def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns once the condition holds. Raises TimeoutError."""
    started = clock()
    while not condition():
        if clock() - started > seconds:
            raise TimeoutError(f"waited in vain until {what}")
        await asyncio.sleep(LOOK_SECONDS)


def raise_file_limit(clients: int) -> None:
    """Each client is a file, here and in the server, which inherits the limit. Raises OSError if there are too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < clients + 1_000:
        raise OSError(f"{clients} clients need more open files than the {hard} that are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def measure(workspace: Path, clients: int, seconds: float, note: Callable[[str], None]) -> Findings:
    """Plays it on a server of its own in an empty directory. Raises TimeoutError if somebody does not hear what they
    should."""
    raise_file_limit(clients)
    server = Parley(workspace, choose_cores().servers)
    try:
        gathering = await gather(server, clients, note)
        return await Play(server, gathering, note).run(seconds)
    finally:
        server.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.crowd", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    pin_driver(choose_cores())
    workspace = ROOT / ".cache" / "bench" / "crowd"
    shutil.rmtree(workspace, ignore_errors=True)
    try:
        found = uvloop.run(measure(workspace, given.clients, given.seconds, note))
    except (Refused, TimeoutError, OSError) as error:
        print(f"{error!r}\nWhat is left of the run is in {workspace}.", file=sys.stderr)
        return 2
    shutil.rmtree(workspace)
    print(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
