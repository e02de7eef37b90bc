"""People join a local room with 1,000 members, one after the other."""

from urllib.parse import quote

from tests.benchmarks.matrix import register_many
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect


async def run(bench: Bench) -> list[Sample]:
    """Joins, and counts the members afterwards."""
    crowd = bench.place("crowd")
    first, *late = await register_many(bench.client, bench.scale.late_joiners + 1)
    await first.join(crowd.room)
    latencies = []
    async with bench.phase() as phase:
        for person in late:
            latencies.append((await person.join(crowd.room)).milliseconds)
    crowd.people += [first, *late]
    reply = await late[-1].get(f"/rooms/{quote(crowd.room)}/joined_members")
    expect(
        set(reply.content["joined"]) == {person.user_id for person in crowd.people},
        "the members of the large room are not those who joined",
    )
    return [phase.sample("join_large", len(latencies), latencies)]


SCENARIO = Scenario(
    "join_large",
    (Operation("join_large", "join of a local room with 1,000 members", one_in=14),),
    run,
    needs=frozenset({"crowd"}),
)
