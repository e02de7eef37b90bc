"""Kill -9 of either server in a burst of federated messages: both have all of them at last, once, in the order of those
who spoke.

People of both servers speak at once, each one line after the other, and repeat with the same transaction id what was
not acknowledged; others listen by long-poll with their old tokens. In each round a server dies in the middle of it, and
is started again on the same data: as the one that sends it has events that nobody took yet, as the one that receives it
has acknowledged some that nobody heard yet, and others come to it twice.

PARLEY_KILL_MESSAGES=1000 says how many messages; a hundred unless given.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.builders.allies import Ally, allied_servers
from tests.builders.people import history, person, state_ids
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient
from tests.stories.test_kill import Listener, Sender

MESSAGES = int(os.environ.get("PARLEY_KILL_MESSAGES", "100"))
SPEAKERS_EACH = 2
ROUNDS = 5
# How long both may take to have everything: a server that was away is tried seldom at last.
PATIENCE = 300.0


@dataclass
class Side:
    """A server, who speaks there, who listens there, and a client of whoever reads back there."""

    ally: Ally
    speakers: list[Sender]
    listener: Listener

    @property
    def reader(self) -> MatrixClient:
        return self.listener.client


@dataclass
class Scene:
    here: Side
    there: Side
    room: str
    rounds: int = 0

    @property
    def speakers(self) -> list[Sender]:
        return [*self.here.speakers, *self.there.speakers]

    async def round(self, speakers: Sequence[Sender], victims: Sequence[Side], after: float) -> None:
        """Each says its lines; when this part of them is acknowledged, the victims die, and come back."""
        self.rounds += 1
        lines = max(2, MESSAGES // ROUNDS // len(speakers))
        before = sum(len(speaker.acknowledged) for speaker in speakers)

        async def say(speaker: Sender) -> None:
            for number in range(lines):
                await speaker.send(f"r{self.rounds}.{number}")

        def is_time() -> bool:
            said = sum(len(speaker.acknowledged) for speaker in speakers) - before
            return said >= after * lines * len(speakers)

        async with asyncio.TaskGroup() as group:
            for speaker in speakers:
                group.create_task(say(speaker))
            await until(is_time, what=f"the middle of round {self.rounds}")
            for victim in victims:
                await victim.ally.kill9()
            for victim in victims:
                await victim.ally.start()

    async def check(self) -> None:
        """Everybody hears all, each once; what the tables hold and what is read back is the same on both sides."""
        everything = {event_id for speaker in self.speakers for event_id in speaker.acknowledged.values()}
        assert len(everything) == sum(len(speaker.acknowledged) for speaker in self.speakers)
        for side in (self.here, self.there):
            name = side.ally.name
            await until(partial(everything.issubset, side.listener.heard), PATIENCE, f"everything is heard at {name}")
            self.check_order(side.listener.heard)
            self.check_order(self.stored(side.ally))
            read = await history(side.reader, self.room, limit=500)
            self.check_order([event["event_id"] for event in read if event["type"] == "m.room.message"])
            await until(partial(_nothing_waits, side.ally), PATIENCE, f"nothing waits at {name}")
        assert await state_ids(self.here.reader, self.room) == await state_ids(self.there.reader, self.room)

    def check_order(self, event_ids: Sequence[str]) -> None:
        """All that was acknowledged and nothing else, each once, and each speaker's lines in the order of speaking."""
        for speaker in self.speakers:
            own = list(speaker.acknowledged.values())
            known = set(own)
            assert [event_id for event_id in event_ids if event_id in known] == own
        assert len(event_ids) == sum(len(speaker.acknowledged) for speaker in self.speakers)

    def stored(self, ally: Ally) -> list[str]:
        """The messages that a server shows, in the order of its history."""
        sql = (
            "SELECT e.event_id FROM events e JOIN rooms r ON r.number = e.room WHERE r.room_id = %s"
            " AND e.type = 'm.room.message' AND e.anchor IS NOT NULL AND e.soft_failed IS NULL AND e.rejected IS NULL"
            " ORDER BY e.anchor, e.rank"
        )
        return [row[0] for row in ally.rows(sql, self.room)]


def _nothing_waits(ally: Ally) -> bool:
    return not ally.rows("SELECT 1 FROM staged_pdus LIMIT 1")


@pytest.fixture
async def scene(fresh: Path) -> AsyncIterator[Scene]:
    """Two servers of their own, with two who speak and one who listens on each, in a room of the first one."""
    async with allied_servers(fresh, 2) as allies, AsyncExitStack() as stack:
        people = [[await person(stack, ally, "p") for _ in range(SPEAKERS_EACH + 1)] for ally in allies]
        room = await people[0][0].create_room(preset="public_chat")
        for one in (*people[0][1:], *people[1]):
            await one.join(room, via=[allies[0].name])
        sides = [
            Side(ally, [Sender(one, room) for one in own[1:]], Listener(own[0], (await own[0].sync())["next_batch"]))
            for ally, own in zip(allies, people, strict=True)
        ]
        tasks = [asyncio.ensure_future(side.listener.listen()) for side in sides]
        try:
            yield Scene(sides[0], sides[1], room)
        finally:
            for task in tasks:
                task.cancel()
            ended, _ = await asyncio.wait(tasks)
        for task in ended:
            assert task.cancelled(), task.exception()


async def test_either_server_dies_in_a_burst(scene: Scene) -> None:
    """Whichever dies, as sender, as receiver, or both at once, nobody loses, repeats or reorders anything."""
    here, there = scene.here, scene.there
    await scene.round(here.speakers, [here], after=0.5)
    await scene.round(here.speakers, [there], after=0.3)
    await scene.round(scene.speakers, [here], after=0.4)
    await scene.round(scene.speakers, [there], after=0.6)
    await scene.round(scene.speakers, [here, there], after=0.5)
    await scene.check()
