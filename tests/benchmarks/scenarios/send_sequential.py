"""One person sends into a room of their own, each message after the answer to the one before."""

from tests.benchmarks.matrix import register
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario
from tests.benchmarks.transcript import Said, check_said

WARM_UP = 20


async def run(bench: Bench) -> list[Sample]:
    """Sends, and reads the room afterwards."""
    person, _ = await register(bench.client)
    room, _ = await person.create_room(preset="private_chat", name="benchmark")
    for number in range(WARM_UP):
        await person.send(room, f"warm-up {number}")
    said, latencies = Said(), []
    async with bench.phase() as phase:
        for number in range(bench.scale.messages_alone):
            event_id, reply = await person.send(room, f"message {number}")
            said.add(event_id, f"message {number}")
            latencies.append(reply.milliseconds)
    await check_said(person, room, {person.user_id: said})
    return [phase.sample("send_sequential", len(latencies), latencies)]


SCENARIO = Scenario(
    "send_sequential",
    (Operation("send_sequential", "send, one user, one after the other", one_in=13),),
    run,
)
