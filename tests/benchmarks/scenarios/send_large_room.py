"""One person sends into a room of 1,000 members while nobody syncs."""

from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario
from tests.benchmarks.transcript import Said, check_said


async def run(bench: Bench) -> list[Sample]:
    """Sends one after the other, and reads the room afterwards as another member."""
    crowd = bench.place("crowd")
    sender, reader = crowd.people[0], crowd.people[1]
    await sender.send(crowd.room, "warm-up")
    mark = f"round {len(crowd.rooms[crowd.room])}"
    said, latencies = Said(), []
    async with bench.phase() as phase:
        for number in range(bench.scale.messages_in_large_room):
            body = f"{mark} message {number}"
            event_id, reply = await sender.send(crowd.room, body)
            said.add(event_id, body)
            latencies.append(reply.milliseconds)
    await check_said(reader, crowd.room, {sender.user_id: said})
    crowd.rooms[crowd.room] += [event_id for event_id, _ in said.messages]
    return [phase.sample("send_large_room", len(latencies), latencies)]


SCENARIO = Scenario(
    "send_large_room",
    (Operation("send_large_room", "send into a room of 1,000 members, nobody syncing", one_in=40),),
    run,
    needs=frozenset({"crowd"}),
)
