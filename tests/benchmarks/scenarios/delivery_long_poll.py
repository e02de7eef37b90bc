"""A hundred clients on long-poll in one room; each message is sent once everybody has the one before.

So every delivery is an answer of its own, and a server that queues cannot save work by answering less often.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
from dataclasses import dataclass, field

from tests.benchmarks.matrix import Reply, Session
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, WrongAnswer, expect

LONGEST_DELIVERY_SECONDS = 60.0
POLL_MILLISECONDS = 30_000
WARM_UP = 3


@dataclass
class Follower:
    """A client that waits for what is new in a room, and notes each answer that holds a message."""

    session: Session
    room: str
    since: str
    answers: asyncio.Queue[tuple[list[str], float]] = field(default_factory=asyncio.Queue)

    async def follow(self) -> None:
        """Polls until it is cancelled."""
        while True:
            reply = await self.session.sync(self.since, POLL_MILLISECONDS)
            self.since = reply.content["next_batch"]
            messages = messages_in(reply, self.room)
            if messages:
                self.answers.put_nowait((messages, reply.arrived))

    async def hears(self, event_id: str) -> float:
        """When the message arrived; it must have come alone, and nothing before it."""
        messages, arrived = await self.answers.get()
        expect(messages == [event_id], f"{self.session.user_id} got {messages} and not just {event_id}")
        return arrived


def messages_in(reply: Reply, room: str) -> list[str]:
    """The ids of the messages that a sync brought of the room."""
    joined = reply.content.get("rooms", {}).get("join", {}).get(room, {})
    events = joined.get("timeline", {}).get("events", [])
    return [event["event_id"] for event in events if event["type"] == "m.room.message"]


async def _step(sender: Session, followers: list[Follower], polls: list[asyncio.Task[None]]) -> list[float]:
    """Sends one message and waits until all have it: the milliseconds that each delivery took."""
    event_id, reply = await sender.send(followers[0].room, "message")
    asked = reply.arrived - reply.milliseconds / 1000
    try:
        async with asyncio.timeout(LONGEST_DELIVERY_SECONDS):
            arrivals = await asyncio.gather(*(follower.hears(event_id) for follower in followers))
    except TimeoutError:
        broken = [poll.exception() for poll in polls if poll.done()]
        waiting = sum(follower.answers.empty() for follower in followers)
        raise WrongAnswer(f"a message did not reach everybody ({waiting} wait); broken polls: {broken[:1]}") from None
    return [(arrived - asked) * 1000 for arrived in arrivals]


async def run(bench: Bench) -> list[Sample]:
    """Message after message, each to everybody."""
    place = bench.place("followers")
    sender, *people = place.people
    followers = [Follower(person, place.room, await person.catch_up()) for person in people[: bench.scale.followers]]
    polls = [asyncio.create_task(follower.follow()) for follower in followers]
    try:
        for _ in range(WARM_UP):
            await _step(sender, followers, polls)
        latencies: list[float] = []
        async with bench.phase() as phase:
            for _ in range(bench.scale.steps):
                latencies += await _step(sender, followers, polls)
    finally:
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    surplus = sum(follower.answers.qsize() for follower in followers)
    expect(surplus == 0, f"{surplus} messages were delivered twice")
    return [phase.sample("delivery_long_poll", len(latencies), latencies)]


SCENARIO = Scenario(
    "delivery_long_poll",
    (
        Operation(
            "delivery_long_poll", "delivery by long-poll, 100 clients, each message an answer of its own", one_in=45
        ),
    ),
    run,
    needs=frozenset({"followers"}),
)
