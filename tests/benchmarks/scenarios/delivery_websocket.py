"""A hundred clients on WebSockets in one room; each message is sent once everybody has the one before.

Synapse has no such thing: its figure is that of its long-poll, which is played again beside it.
docs/reference/websocket.md
"""

import asyncio

import orjson

from tests.benchmarks.matrix import Session
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, WrongAnswer, expect
from tests.benchmarks.scenarios import delivery_long_poll
from tests.benchmarks.scenarios.delivery_long_poll import LONGEST_DELIVERY_SECONDS, POLL_MILLISECONDS, WARM_UP
from tests.benchmarks.websocket import Socket

KEY = "delivery_websocket"


class Follower:
    """A client that asks for the next sync as soon as it has an answer, and notes each message."""

    def __init__(self, session: Session, room: str, since: str) -> None:
        self.session = session
        self.room = room
        self.since = since
        self.answers: asyncio.Queue[tuple[list[str], float]] = asyncio.Queue()
        self._socket = Socket(session.token, self._heard, self._lost)
        self._is_wanted = True

    async def follow(self, port: int) -> None:
        await self._socket.connect(port)

    def stop(self) -> None:
        self._is_wanted = False
        self._socket.abort()

    def _heard(self, message: bytes, arrived: float) -> None:
        content = orjson.loads(message)
        if content.get("id") == "s":
            self.since = content["body"]["next_batch"]
            joined = content["body"].get("rooms", {}).get("join", {}).get(self.room, {})
            events = joined.get("timeline", {}).get("events", [])
            if messages := [event["event_id"] for event in events if event["type"] == "m.room.message"]:
                self.answers.put_nowait((messages, arrived))
        elif "hello" not in content:
            return
        wanted = {"since": self.since, "timeout": POLL_MILLISECONDS}
        self._socket.say(orjson.dumps({"id": "s", "sync": wanted}))

    def _lost(self) -> None:
        if self._is_wanted:
            self.answers.put_nowait((["the socket was lost"], 0.0))

    async def hears(self, event_id: str) -> float:
        """When the message arrived; it must have come alone, and nothing before it."""
        messages, arrived = await self.answers.get()
        expect(messages == [event_id], f"{self.session.user_id} got {messages} and not just {event_id}")
        return arrived


async def _step(sender: Session, followers: list[Follower]) -> list[float]:
    """Sends one message and waits until all have it: the milliseconds that each delivery took."""
    event_id, reply = await sender.send(followers[0].room, "message")
    asked = reply.arrived - reply.milliseconds / 1000
    try:
        async with asyncio.timeout(LONGEST_DELIVERY_SECONDS):
            arrivals = await asyncio.gather(*(follower.hears(event_id) for follower in followers))
    except TimeoutError:
        waiting = sum(follower.answers.empty() for follower in followers)
        raise WrongAnswer(f"a message did not reach everybody ({waiting} wait)") from None
    return [(arrived - asked) * 1000 for arrived in arrivals]


async def run(bench: Bench) -> list[Sample]:
    """Message after message, each to everybody."""
    if bench.server.name != "parley":
        return [Sample(KEY, sample.figure, sample.detail) for sample in await delivery_long_poll.run(bench)]
    place = bench.place("followers")
    sender, *people = place.people
    followers = [Follower(person, place.room, await person.catch_up()) for person in people[: bench.scale.followers]]
    for follower in followers:
        await follower.follow(bench.server.port)
    try:
        for _ in range(WARM_UP):
            await _step(sender, followers)
        latencies: list[float] = []
        async with bench.phase() as phase:
            for _ in range(bench.scale.steps):
                latencies += await _step(sender, followers)
    finally:
        for follower in followers:
            follower.stop()
    surplus = sum(follower.answers.qsize() for follower in followers)
    expect(surplus == 0, f"{surplus} messages were delivered twice")
    return [phase.sample(KEY, len(latencies), latencies)]


SCENARIO = Scenario(
    KEY,
    (Operation(KEY, "delivery by WebSocket, 100 clients, each message alone (Synapse: by long-poll)", one_in=120),),
    run,
    needs=frozenset({"followers"}),
)
