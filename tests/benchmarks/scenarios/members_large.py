"""The member list of a room with 1,000 members."""

from urllib.parse import quote

from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect


async def run(bench: Bench) -> list[Sample]:
    """Asks again and again; everybody must be on each list."""
    crowd = bench.place("crowd")
    path = f"/rooms/{quote(crowd.room)}/members"
    await crowd.people[0].get(path)
    replies = []
    async with bench.phase() as phase:
        for number in range(bench.scale.member_lists):
            replies.append(await crowd.people[number % len(crowd.people)].get(path))
    everybody = sorted(person.user_id for person in crowd.people)
    for reply in replies:
        listed = sorted(event["state_key"] for event in reply.content["chunk"])
        expect(listed == everybody, "the member list is not the members")
    return [phase.sample("members_1000", len(replies), [reply.milliseconds for reply in replies])]


SCENARIO = Scenario(
    "members_1000",
    (Operation("members_1000", "`/members` of 1,000", one_in=8),),
    run,
    needs=frozenset({"crowd"}),
)
