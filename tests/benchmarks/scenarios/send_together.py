"""Many people send at the same time: each in a room of their own, or all in one room."""

import asyncio
from collections.abc import Sequence

from tests.benchmarks.matrix import Session, at_most, register_many
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario
from tests.benchmarks.transcript import Said, check_said


async def _send_together(
    bench: Bench, operation: str, people: Sequence[Session], rooms: Sequence[str], count: int
) -> list[Sample]:
    """Everybody sends their share into their room; then each room is read."""
    said = {person.user_id: Said() for person in people}
    latencies: list[float] = []

    async def talk(person: Session, room: str) -> None:
        for number in range(count // len(people)):
            event_id, reply = await person.send(room, f"message {number}")
            said[person.user_id].add(event_id, f"message {number}")
            latencies.append(reply.milliseconds)

    for person, room in zip(people, rooms, strict=True):
        await person.send(room, "warm-up")
    async with bench.phase() as phase:
        await asyncio.gather(*(talk(person, room) for person, room in zip(people, rooms, strict=True)))
    for room in dict.fromkeys(rooms):
        there = [person for person, own in zip(people, rooms, strict=True) if own == room]
        await check_said(there[0], room, {person.user_id: said[person.user_id] for person in there})
    return [phase.sample(operation, len(latencies), latencies)]


async def run_rooms(bench: Bench) -> list[Sample]:
    """Each in a room of their own."""
    people = await register_many(bench.client, bench.scale.senders)
    rooms = [(await person.create_room(preset="private_chat", name="benchmark"))[0] for person in people]
    return await _send_together(bench, "send_20_rooms", people, rooms, bench.scale.messages_in_rooms)


async def run_one_room(bench: Bench) -> list[Sample]:
    """All in one and the same room."""
    people = await register_many(bench.client, bench.scale.senders)
    room, _ = await people[0].create_room(preset="public_chat", name="benchmark")
    await at_most(4, lambda person: person.join(room), people[1:])
    rooms = [room] * len(people)
    return await _send_together(bench, "send_one_room", people, rooms, bench.scale.messages_in_one_room)


ROOMS = Scenario("send_20_rooms", (Operation("send_20_rooms", "send, 20 users in 20 rooms", one_in=11),), run_rooms)
ONE_ROOM = Scenario(
    "send_one_room", (Operation("send_one_room", "send, 20 users in one room", one_in=8),), run_one_room
)
