"""Private rooms with a name and a topic, one after the other."""

from urllib.parse import quote

import orjson

from tests.benchmarks.matrix import register
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect

PRIVATE = {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility"}


async def run(bench: Bench) -> list[Sample]:
    """Creates, and reads each room's state afterwards."""
    person, _ = await register(bench.client)
    await person.create_room(preset="private_chat", name="warm-up", topic="warm-up")
    rooms, latencies = [], []
    async with bench.phase() as phase:
        for number in range(bench.scale.rooms_created):
            room, reply = await person.create_room(preset="private_chat", name=f"room {number}", topic="benchmark")
            rooms.append(room)
            latencies.append(reply.milliseconds)
    expect(len(set(rooms)) == len(rooms), "two rooms have the same id")
    for number, room in enumerate(rooms):
        answer = await person.client.request("GET", f"/_matrix/client/v3/rooms/{quote(room)}/state", person.token)
        expect(answer.status == 200, f"the state of a new room was answered {answer.status}")
        state = {event["type"]: event["content"] for event in orjson.loads(answer.body)}
        expect(set(state) >= PRIVATE, f"a new room lacks {PRIVATE - set(state)}")
        expect(state["m.room.name"] == {"name": f"room {number}"}, "a new room has another name")
        expect(state["m.room.topic"]["topic"] == "benchmark", "a new room has another topic")
        expect(state["m.room.join_rules"]["join_rule"] == "invite", "a private room is not")
    return [phase.sample("create_room", len(rooms), latencies)]


SCENARIO = Scenario("create_room", (Operation("create_room", "createRoom", one_in=12),), run)
