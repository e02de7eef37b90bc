"""`python -m tests.benchmarks.crowd --clients 200`: thousands of live clients on one Parley, driven from one process.

Half of them wait on long-poll, half on WebSockets, each a user of its own in a room of a hundred. Messages come at a
steady rate, each due at its moment, so that a server that cannot keep up shows its queue. Then the server is restarted,
and everybody comes back as the documentation wants it. What is found: how late messages arrive, resident memory, when
everybody was live again, and how many statements it took to come back, beside a comeback when all is quiet.

As a scenario of the benchmark: `scenarios/crowd.py`.
"""

import argparse
import asyncio
import random
import resource
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import uvloop

from tests.benchmarks.driver import Client, ConnectionLost, clock
from tests.benchmarks.machine import choose_cores, memory_of, pin_driver
from tests.benchmarks.matrix import Refused, Session, at_most, register_many
from tests.benchmarks.results import percentile
from tests.benchmarks.servers import ROOT, Parley, Server
from tests.benchmarks.websocket import Socket

ROOM_SIZE = 100
# Forty in all, with ten thousand clients.
RATE_OF_ROOM = 0.4
QUIET_COMEBACKS = 50
POLL_MILLISECONDS = 30_000
LONGEST_SECONDS = 180.0
ROUND_SECONDS = 3.0
# When a client of long-poll comes back after its connection broke; a WebSocket is told by the server.
COMEBACK_SECONDS = (1.0, 10.0)
MARK = b'"body":"crowd '


@dataclass(frozen=True)
class Findings:
    """Milliseconds, megabytes, seconds, and statements for each client that came back."""

    clients: int
    deliveries: int
    p50_ms: float
    p99_ms: float
    memory_mb: float
    back_after_s: float
    statements_quiet: float
    statements_crowd: float


class Crowd:
    """What all clients share: when each message was due, and how late it was heard."""

    def __init__(self) -> None:
        self.due: dict[bytes, float] = {}
        self.heard: dict[bytes, int] = {}
        self.latencies: list[float] = []
        self.is_over = False
        self._changed = asyncio.Event()

    def note(self, answer: bytes, arrived: float) -> None:
        """Counts the messages in an answer."""
        place = answer.find(MARK)
        while place >= 0:
            start = place + len(MARK)
            mark = answer[start : answer.index(b'"', start)]
            if mark in self.due:
                self.latencies.append((arrived - self.due[mark]) * 1000)
                self.heard[mark] = self.heard.get(mark, 0) + 1
                self._changed.set()
            place = answer.find(MARK, start)

    async def all_heard(self, wanted: dict[bytes, int]) -> None:
        """Returns when each of these messages was heard so many times."""
        while any(self.heard.get(mark, 0) < size for mark, size in wanted.items()):
            self._changed.clear()
            await self._changed.wait()


def next_batch(answer: bytes) -> str:
    start = answer.index(b'"next_batch":"') + len(b'"next_batch":"')
    return answer[start : answer.index(b'"', start)].decode()


class LongPoll:
    """A client that waits over HTTP."""

    def __init__(self, crowd: Crowd, session: Session, since: str) -> None:
        self._crowd = crowd
        self._session = session
        self._since = since

    async def run(self) -> None:
        while not self._crowd.is_over:
            try:
                path = f"/_matrix/client/v3/sync?timeout={POLL_MILLISECONDS}&since={self._since}"
                answer = await self._session.client.request("GET", path, self._session.token)
            except (ConnectionLost, OSError, TimeoutError):
                await asyncio.sleep(random.uniform(*COMEBACK_SECONDS))
                continue
            if answer.status == 200:
                self._since = next_batch(answer.body)
                self._crowd.note(answer.body, answer.arrived)


class OnSocket:
    """A client that waits on a WebSocket."""

    def __init__(self, crowd: Crowd, session: Session, since: str, port: int) -> None:
        self._crowd = crowd
        self._session = session
        self._since = since
        self._port = port
        self._retry = COMEBACK_SECONDS[0]

    async def run(self) -> None:
        while not self._crowd.is_over:
            over = asyncio.Event()
            try:
                self._socket = await Socket.open(self._port, self._session.token, self._heard, over.set)
            except OSError:
                await asyncio.sleep(random.uniform(*COMEBACK_SECONDS))
                continue
            try:
                await over.wait()
            finally:
                self._socket.abort()
            await asyncio.sleep(self._retry)

    def _heard(self, message: bytes, arrived: float) -> None:
        if message.startswith(b'{"id":"s"'):
            self._since = next_batch(message)
            self._crowd.note(message, arrived)
        elif message.startswith(b'{"bye"'):
            self._retry = orjson.loads(message)["bye"]["retry_ms"] / 1000
            return
        elif not message.startswith(b'{"hello"'):
            return
        wanted = {"since": self._since, "timeout": POLL_MILLISECONDS}
        self._socket.say(orjson.dumps({"id": "s", "sync": wanted}))


def metric(server: Server, name: str) -> float:
    """A figure of /metrics."""
    with urllib.request.urlopen(f"{server.base_url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split(" ")[0].split("{")[0] == name)


class Play:
    """One crowd on one server."""

    def __init__(self, server: Server, client: Client, clients: int, note: Callable[[str], None]) -> None:
        self._server = server
        self._client = client
        self._count = clients
        self._note = note
        self._crowd = Crowd()
        self._rooms: list[tuple[str, Session]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sent = 0
        self._said = 0

    async def run(self, seconds: float) -> Findings:
        quiet = await self._gather()
        await self._all_live("the first messages")
        self._crowd.latencies.clear()
        await self._talk(seconds)
        latencies = list(self._crowd.latencies)
        memory = memory_of(self._server.pids["server"]).resident
        self._note(f"{len(latencies)} deliveries, {memory:.0f} MB; restarting")
        restarted = clock()
        await asyncio.to_thread(self._server.restart)
        before, said = metric(self._server, "parley_statements_total"), self._said
        talking = asyncio.create_task(self._talk(LONGEST_SECONDS))
        await self._all_live("the messages after the restart")
        back = clock() - restarted
        statements = metric(self._server, "parley_statements_total") - before
        talking.cancel()
        # What the messages took meanwhile is not theirs.
        per_client = max(0.0, statements - quiet[1] * (self._said - said)) / self._count
        await self._disperse()
        return Findings(
            self._count,
            len(latencies),
            percentile(latencies, 0.5),
            percentile(latencies, 0.99),
            memory,
            back,
            quiet[0],
            per_client,
        )

    async def _gather(self) -> tuple[float, float]:
        """Everybody registers, joins, syncs and waits. Statements of a quiet comeback, and of one message."""
        self._note(f"registering {self._count} people")
        people = await register_many(self._client, self._count)
        for start in range(0, self._count, ROOM_SIZE):
            group = people[start : start + ROOM_SIZE]
            room, _ = await group[0].create_room(preset="public_chat", name="crowd")
            await at_most(8, lambda one, room=room: one.join(room), group[1:])
            self._rooms.append((room, group[0]))
        self._note("first syncs")
        since = await at_most(8, _first_sync, people)
        quiet = await self._quiet(list(zip(people, since, strict=True))[:QUIET_COMEBACKS])
        for number, (person, token) in enumerate(zip(people, since, strict=True)):
            one: LongPoll | OnSocket
            if number % 2:
                one = LongPoll(self._crowd, person, token)
            else:
                one = OnSocket(self._crowd, person, token, self._server.port)
            self._tasks.append(asyncio.create_task(one.run()))
        return quiet

    async def _quiet(self, some: list[tuple[Session, str]]) -> tuple[float, float]:
        """After a restart, a few come back while nothing else happens."""
        await asyncio.to_thread(self._server.restart)
        self._client.close()
        before = metric(self._server, "parley_statements_total")
        await asyncio.gather(*(person.sync(since) for person, since in some))
        after = metric(self._server, "parley_statements_total")
        for _ in range(QUIET_COMEBACKS):
            await self._say(0)
        return (after - before) / len(some), (metric(self._server, "parley_statements_total") - after) / QUIET_COMEBACKS

    async def _say(self, room: int) -> bytes | None:
        """A message, due now. None if the server does not take it: it is being restarted."""
        self._sent += 1
        text = f"{self._sent}"
        mark = text.encode()
        self._crowd.due[mark] = clock()
        room_id, sender = self._rooms[room]
        try:
            await sender.send(room_id, f"crowd {text}")
        except (Refused, ConnectionLost, OSError):
            del self._crowd.due[mark]
            return None
        self._said += 1
        return mark

    async def _talk(self, seconds: float) -> None:
        """Messages at a steady rate, over all rooms in turn."""
        started, number, sends = clock(), 0, set[asyncio.Task[bytes | None]]()
        while clock() - started < seconds:
            number += 1
            due = started + number / (RATE_OF_ROOM * len(self._rooms))
            await asyncio.sleep(max(0.0, due - clock()))
            send = asyncio.create_task(self._say(number % len(self._rooms)))
            sends.add(send)
            send.add_done_callback(sends.discard)
        await asyncio.gather(*sends)

    async def _all_live(self, what: str) -> None:
        """Returns when a message to every room has reached everybody in it. Whoever is away for long may be told of a
        gap in place of it, so another is sent from time to time."""
        self._note(f"waiting for {what}")
        async with asyncio.timeout(LONGEST_SECONDS):
            while True:
                marks = await asyncio.gather(*(self._say(room) for room in range(len(self._rooms))))
                sizes = [min(ROOM_SIZE, self._count - start) for start in range(0, self._count, ROOM_SIZE)]
                wanted = {mark: size for mark, size in zip(marks, sizes, strict=True) if mark is not None}
                try:
                    async with asyncio.timeout(ROUND_SECONDS):
                        await self._crowd.all_heard(wanted)
                        if len(wanted) == len(sizes):
                            return
                        await asyncio.sleep(ROUND_SECONDS)
                except TimeoutError:
                    continue

    async def _disperse(self) -> None:
        self._crowd.is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _first_sync(person: Session) -> str:
    batch: str = (await person.sync()).content["next_batch"]
    return batch


def raise_file_limit() -> None:
    """Each client is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def measure(server: Server, clients: int, seconds: float, note: Callable[[str], None]) -> Findings:
    """Plays it on a server that runs. Raises TimeoutError if somebody does not hear what they should."""
    raise_file_limit()
    client = Client(server.port)
    try:
        return await Play(server, client, clients, note).run(seconds)
    finally:
        client.close()


async def _alone(clients: int, seconds: float, workspace: Path) -> Findings:
    server = Parley(workspace, choose_cores().servers)
    try:
        server.create()
        server.start()
        return await measure(server, clients, seconds, lambda text: print(f"# {time.strftime('%H:%M:%S')} {text}"))
    finally:
        server.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.crowd", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    pin_driver(choose_cores())
    workspace = ROOT / ".cache" / "bench" / f"crowd-{int(time.time())}"
    try:
        found = uvloop.run(_alone(given.clients, given.seconds, workspace))
    except (Refused, TimeoutError) as error:
        print(f"{error!r}\nWhat is left of the run is in {workspace}.", file=sys.stderr)
        return 2
    print(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
