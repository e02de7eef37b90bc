"""Fifty messages a second, steadily, whether or not the ones before have been answered.

The latency runs from the moment when a message is due, so a server that falls behind shows its queue.
"""

import asyncio

from tests.benchmarks.driver import clock
from tests.benchmarks.matrix import Session, register_many
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario
from tests.benchmarks.transcript import Said, check_said

PER_SECOND = 50
SENDERS = 10


async def run(bench: Bench) -> list[Sample]:
    """Ten people in ten rooms take turns."""
    people = await register_many(bench.client, SENDERS)
    rooms = [(await person.create_room(preset="private_chat", name="benchmark"))[0] for person in people]
    said = [Said() for _ in people]
    latencies: list[float] = []

    async def send(person: Session, room: str, own: Said, body: str, due: float) -> None:
        event_id, reply = await person.send(room, body)
        own.add(event_id, body)
        latencies.append((reply.arrived - due) * 1000)

    for person, room in zip(people, rooms, strict=True):
        await person.send(room, "warm-up")
    async with bench.phase() as phase:
        started = clock()
        sends = []
        for number in range(PER_SECOND * bench.scale.steady_seconds):
            due = started + number / PER_SECOND
            await asyncio.sleep(max(0.0, due - clock()))
            turn = number % SENDERS
            message = send(people[turn], rooms[turn], said[turn], f"message {number}", due)
            sends.append(asyncio.create_task(message))
        await asyncio.gather(*sends)
    for person, room, own in zip(people, rooms, said, strict=True):
        await check_said(person, room, {person.user_id: own}, ordered=False)
    sample = phase.sample("send_rate", len(latencies), latencies)
    return [Sample("send_rate", sample.detail["p99_ms"], sample.detail | {"cpu_ms": sample.figure})]


SCENARIO = Scenario(
    "send_rate",
    (Operation("send_rate", "send at 50 messages a second", "ms p99", at_most=25),),
    run,
)
