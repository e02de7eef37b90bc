"""`python -m tests.benchmarks.federation`: messages between two servers, and a join over federation.

CPU is that of both servers with their databases, until all are quiet again. Every message must be read on the other
side, and paging back from the join must find every event.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import quote

import uvloop

from tests.benchmarks.driver import Client
from tests.benchmarks.federation.allied import KINDS, AlliedParley, AlliedSynapse
from tests.benchmarks.machine import choose_cores, cpu_seconds, pin_driver
from tests.benchmarks.matrix import Session, register
from tests.benchmarks.phase import Meter, Phase, Usage
from tests.benchmarks.scenario import expect
from tests.builders.certificate import CertificateAuthority

TARGETS = {"message": 12, "join": 10}
TITLES = {
    "message": "a message from server to server, both sides",
    "join": "a join of a room with 100 members and 500 events, both sides",
}
LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Size:
    messages: int
    members: int
    events: int
    joins: int


SIZES = {"full": Size(200, 100, 500, 3), "small": Size(20, 10, 30, 1)}


class BothMeter(Meter):
    """Reads what two servers and their databases have used."""

    def __init__(self, pair: "Pair") -> None:
        super().__init__({})
        self._pair = pair

    def usage(self) -> Usage:
        servers = (self._pair.here, self._pair.there)
        return Usage(
            sum(cpu_seconds(server.pids["server"]) for server in servers),
            sum(cpu_seconds(server.pids["database"]) for server in servers),
        )


@dataclass
class Pair:
    """Two servers of a kind, with somebody on each."""

    here: AlliedSynapse | AlliedParley
    there: AlliedSynapse | AlliedParley
    alice: Session
    bob: Session

    def phase(self) -> Phase:
        return Phase(BothMeter(self))


@dataclass
class Found:
    """Milliseconds of CPU per operation, by operation, of each round."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, operation: str, figure: float) -> None:
        self.figures.setdefault(operation, []).append(figure)


async def play(pair: Pair, size: Size, found: Found) -> None:
    """Both operations once."""
    found.add("message", await _messages(pair, size))
    found.add("join", await _joins(pair, size))


async def _messages(pair: Pair, size: Size) -> float:
    room, _ = await pair.alice.create_room(preset="public_chat")
    await pair.bob.post(f"/join/{quote(room)}?via={quote(pair.here.server_name)}", {})
    await pair.alice.send(room, "warm-up")
    await _arrived(pair.bob, room, "warm-up")
    async with pair.phase() as phase:
        for number in range(size.messages):
            await pair.alice.send(room, f"message {number}")
        await _arrived(pair.bob, room, f"message {size.messages - 1}")
    bodies = [body for body in await _all_bodies(pair.bob, room) if body.startswith("message ")]
    expect(bodies == [f"message {number}" for number in range(size.messages)], "messages are missing or out of order")
    return phase.sample("message", size.messages, [0.0]).figure


async def _joins(pair: Pair, size: Size) -> float:
    """Rooms that the other server was never in; its first join of each is measured."""
    members = [(await register(pair.alice.client))[0] for _ in range(size.members - 1)]
    rooms: list[str] = []
    for _ in range(size.joins):
        room, _ = await pair.alice.create_room(preset="public_chat")
        for member in members:
            await member.join(room)
        for number in range(size.events):
            await pair.alice.send(room, f"event {number}")
        rooms.append(room)
    async with pair.phase() as phase:
        for room in rooms:
            await pair.bob.post(f"/join/{quote(room)}?via={quote(pair.here.server_name)}", {})
    for room in rooms:
        bodies = [body for body in await _all_bodies(pair.bob, room) if body.startswith("event ")]
        expect(
            bodies == [f"event {number}" for number in range(size.events)], f"paging back found {len(bodies)} events"
        )
    return phase.sample("join", size.joins, [0.0]).figure


async def _arrived(person: Session, room: str, body: str) -> None:
    """Waits until it is the newest message of the room."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        chunk = (await person.get(f"/rooms/{quote(room)}/messages?dir=b&limit=1")).content["chunk"]
        if chunk and chunk[0]["content"].get("body") == body:
            return
        expect(time.monotonic() < deadline, f"{body} did not arrive")
        await asyncio.sleep(0.25)


async def _all_bodies(person: Session, room: str) -> list[str]:
    found: list[str] = []
    start: str | None = None
    while True:
        page = (await person.page_back(room, start)).content
        found += [event["content"].get("body", "") for event in page["chunk"]]
        start = page.get("end")
        if start is None or not page["chunk"]:
            return found[::-1]


async def measure(kinds: list[str], rounds: int, size: Size, place: Path) -> dict[str, Found]:
    """All rounds of each kind, one kind after the other: four servers at once leave no core for the driver."""
    cores = choose_cores()
    pin_driver(cores)
    authority = CertificateAuthority.make(place / "authority")
    results: dict[str, Found] = {}
    for kind in kinds:
        servers = [KINDS[kind](place / f"{kind}{number}", cores.servers, authority) for number in range(2)]
        try:
            for server in servers:
                server.create()
                server.start()
            here, there = servers
            clients = [Client(server.port) for server in servers]
            pair = Pair(here, there, (await register(clients[0]))[0], (await register(clients[1]))[0])
            results[kind] = Found()
            for number in range(rounds):
                await play(pair, size, results[kind])
                latest = {name: round(figures[-1], 2) for name, figures in results[kind].figures.items()}
                print(f"# {time.strftime('%H:%M:%S')} {kind} round {number + 1}: {latest}", file=sys.stderr, flush=True)
            for client in clients:
                client.close()
        finally:
            for server in servers:
                server.dispose()
    return results


def table(results: dict[str, Found]) -> str:
    """Markdown: milliseconds of CPU per operation, and the ratio."""
    lines = ["| operation | Synapse ms | Parley ms | ratio | target |", "|---|---|---|---|---|"]
    for name, target in TARGETS.items():
        synapse, parley = (median(results[kind].figures[name]) for kind in ("synapse", "parley"))
        verdict = "holds" if parley * target <= synapse else "missed"
        lines.append(
            f"| {TITLES[name]} | {synapse:.1f} | {parley:.2f} | 1/{synapse / parley:.1f} | 1/{target} {verdict} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.federation", description=__doc__)
    parser.add_argument("--servers", default="synapse,parley")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", choices=sorted(SIZES), default="full")
    wanted = parser.parse_args()
    kinds = wanted.servers.split(",")
    with tempfile.TemporaryDirectory(prefix="parley-bench-federation-", dir="/tmp") as name:
        Path(name).chmod(0o711)  # the account that runs PostgreSQL must be able to enter
        results = uvloop.run(measure(kinds, wanted.rounds, SIZES[wanted.scale], Path(name)))
    if set(kinds) == set(KINDS):
        print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
