"""Kill -9 at every point of a burst of sends: what was acknowledged is there, in order, once, and clients go on.

Several clients send, each its messages one after the other, and repeat with the same transaction id what was not
acknowledged; others listen by long-poll with their old tokens. One send of each round orders a crash at one of its
statements (tests/builders/crashing_server.py); whatever died is restarted on the same data. The last statement is
COMMIT: what dies after it has sent an event that nobody acknowledged yet.

PARLEY_TEST_EXAMPLES=n does n times as much, with every victim at every statement.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.builders.process import ServerProcess, running_server
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3

VICTIMS = ("parley", "both", "postgres", "postmaster", "connection")
# No statement of a send has a higher number; the first that is not reached ends the search.
MOST_STATEMENTS = 30
PER_ROUND = 4
# Which message of a round orders the crash.
FATAL = 1
FILTER = {"room": {"timeline": {"limit": 1_000}}}


@dataclass
class Sender:
    """Says one thing after the other, and each until it is acknowledged."""

    client: MatrixClient
    room: str
    # The event ids of what was acknowledged, in that order, by transaction id.
    acknowledged: dict[str, str] = field(default_factory=dict)

    async def send(self, txn: str) -> None:
        self.acknowledged[txn] = await until(lambda: self.attempt(txn), 120, f"{txn} is acknowledged")

    async def attempt(self, txn: str) -> str | None:
        """The event id, or None if the server did not say so."""
        path = v3("rooms", self.room, "send", "m.room.message", txn)
        try:
            answer = await self.client.ask("PUT", path, {"msgtype": "m.text", "body": txn})
        except aiohttp.ClientError:
            return None
        assert answer.status in (200, 503), answer
        return str(answer.body["event_id"]) if answer.status == 200 else None


@dataclass
class Listener:
    """Hears everything by long-poll, from one token to the next, whatever happens to the server."""

    client: MatrixClient
    since: str
    heard: list[str] = field(default_factory=list)

    async def listen(self) -> None:
        while True:
            await until(self.once, 120, "a sync is answered")

    async def once(self) -> bool:
        query = {"since": self.since, "timeout": "10000", "filter": FILTER}
        try:
            answer = await self.client.ask("GET", v3("sync"), query=query)
        except aiohttp.ClientError:
            return False
        assert answer.status in (200, 503), answer
        if answer.status == 200:
            for room in answer.body.get("rooms", {}).get("join", {}).values():
                assert not room["timeline"]["limited"], "its token is as good as before the crash"
                events = room["timeline"]["events"]
                self.heard += [event["event_id"] for event in events if event["type"] == "m.room.message"]
            self.since = answer.body["next_batch"]
        return answer.status == 200


@dataclass
class Scene:
    """The server, who sends, and who listens."""

    server: ServerProcess
    crashes: Path
    room: str
    senders: list[Sender]
    listeners: list[Listener]
    rounds: int = 0

    async def round(self, after: int, victim: str) -> bool:
        """Everybody sends, and one of them orders a crash; False if no send has so many statements."""
        self.rounds += 1
        order = f"crash.{after}.{victim}.{self.rounds}"
        fatal = self.senders[self.rounds % len(self.senders)]

        async def say(sender: Sender) -> None:
            for number in range(PER_ROUND):
                last = sender is fatal and number == FATAL
                await sender.send(order if last else f"r{self.rounds}.{number}")

        async with asyncio.TaskGroup() as group:
            talk = [group.create_task(say(sender)) for sender in self.senders]

            def is_over() -> bool:
                return self.server.has_ended() or all(task.done() for task in talk)

            await until(is_over, 180, f"{order} comes to its end")
            if self.server.has_ended():
                assert self.server.status == -9, self.server.log()[-4000:]
                await self.server.start()
        reached = order in self.crashes.read_text().split()
        if reached and victim in ("postgres", "postmaster"):
            await self.server.restarted_postgres()
        return reached

    async def check(self) -> None:
        """Everybody has heard all that was acknowledged, each once, in the order of the room and of each sender."""
        expected = {event_id for sender in self.senders for event_id in sender.acknowledged.values()}
        for listener in self.listeners:
            await until(partial(expected.issubset, listener.heard), what="everything is heard")
        history = await self.history()
        said = [event_id for event_id, _, _ in history]
        assert len(said) == len(set(said)) == len(expected)
        for listener in self.listeners:
            assert listener.heard == said
        for sender in self.senders:
            own = [(txn, event_id) for event_id, who, txn in history if who == sender.client.user_id]
            assert own == list(sender.acknowledged.items())

    async def history(self) -> list[tuple[str, str, str]]:
        """(event id, sender, body) of all messages, oldest first."""
        client = self.senders[0].client
        found: list[tuple[str, str, str]] = []
        page = await client.messages(self.room, dir="b", limit=500)
        while True:
            found += [
                (event["event_id"], event["sender"], event["content"]["body"])
                for event in page["chunk"]
                if event["type"] == "m.room.message"
            ]
            if "end" not in page:
                return list(reversed(found))
            page = await client.messages(self.room, page["end"], dir="b", limit=500)

    async def repeat(self) -> None:
        """What was acknowledged long ago, sent again, is the same event still."""
        for sender in self.senders:
            for txn, event_id in list(sender.acknowledged.items())[-PER_ROUND:]:
                assert await sender.attempt(txn) == event_id


@pytest.fixture
async def scene(place: Path) -> AsyncIterator[Scene]:
    """Three who send and two who listen, in one room of a server that can be told to crash."""
    crashes = place / "crashes"
    crashes.touch()
    program = (sys.executable, "-m", "tests.builders.crashing_server", str(crashes))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(place, program=program))
        server.foresee("PostgreSQL ended with status", "gave up on the database", "unexpected postmaster exit")
        clients = [await stack.enter_async_context(MatrixClient(server.url)) for _ in range(5)]
        for number, client in enumerate(clients):
            await client.register(f"user{number}")
        room = await clients[0].create_room(preset="public_chat")
        for client in clients[1:]:
            await client.join(room)
        senders = [Sender(client, room) for client in clients[:3]]
        listeners = [Listener(client, (await client.sync())["next_batch"]) for client in clients[2:]]
        tasks = [asyncio.ensure_future(listener.listen()) for listener in listeners]
        try:
            yield Scene(server, crashes, room, senders, listeners)
        finally:
            for task in tasks:
                task.cancel()
            ended, _ = await asyncio.wait(tasks)
        for task in ended:
            assert task.cancelled(), task.exception()


def more() -> int:
    """How many times as much as usual is asked for; 0 if nothing is."""
    return int(os.environ.get("PARLEY_TEST_EXAMPLES", "0"))


def victims_in_turn() -> Iterator[str]:
    """Half of them are, or take with them, PostgreSQL."""
    while True:
        yield from ("parley", "both", "parley", "postgres")


async def test_attack_60_a_burst_of_sends_that_dies_at_every_statement(scene: Scene) -> None:
    """Whatever dies at whichever statement of a send, nobody loses, repeats or reorders what was acknowledged."""
    last = 0
    for after, victim in zip(range(1, MOST_STATEMENTS), victims_in_turn(), strict=False):
        if not await scene.round(after, victim):
            break
        last = after
    assert 4 < last < MOST_STATEMENTS - 1
    # Around COMMIT everybody dies: before it is sent, and after it is done but not answered.
    for after in (last - 1, last):
        for victim in VICTIMS:
            assert await scene.round(after, victim)
            await scene.repeat()
    await scene.check()
    for _ in range(more()):
        for after in range(last + 1):
            for victim in VICTIMS:
                assert await scene.round(after, victim)
        await scene.repeat()
        await scene.check()


async def test_postgres_dies_alone(scene: Scene) -> None:
    """Kill -9 of PostgreSQL while clients talk and listen: Parley starts it again, and goes on as if nothing was."""
    for number in range(2 + more()):
        async with asyncio.TaskGroup() as talk:
            for sender in scene.senders:
                for line in range(PER_ROUND):
                    talk.create_task(sender.send(f"p{number}.{line}"))
            await scene.server.kill9_postgres()
            await scene.server.restarted_postgres()
        await scene.senders[0].send(f"after.{number}")
        await scene.repeat()
