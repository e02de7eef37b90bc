"""Initial sync of an account in 100 rooms of 5 members and 20 messages, each on a new device."""

from tests.benchmarks.matrix import login
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect
from tests.benchmarks.scenarios.delivery_long_poll import messages_in

DEFAULT_TIMELINE = 10


async def run(bench: Bench) -> list[Sample]:
    """Syncs each device for the first time; every room must be there with its last messages and members."""
    account = bench.place("account")
    devices = [(await login(account.people[0]))[0] for _ in range(bench.scale.initial_syncs)]
    replies = []
    async with bench.phase() as phase:
        for device in devices:
            replies.append(await device.sync())
    for reply in replies:
        joined = reply.content["rooms"]["join"]
        expect(set(joined) == set(account.rooms), "the initial sync has not just the account's rooms")
        for room, messages in account.rooms.items():
            expect(messages_in(reply, room) == messages[-DEFAULT_TIMELINE:], f"the timeline of {room} is wrong")
            state = joined[room]["state"]["events"]
            members = [event["state_key"] for event in state if event["type"] == "m.room.member"]
            expect(sorted(members) == sorted(person.user_id for person in account.people), "members are missing")
    sample = phase.sample("initial_sync", len(replies), [reply.milliseconds for reply in replies])
    return [Sample(sample.operation, sample.figure, sample.detail | {"bytes": float(replies[0].size)})]


SCENARIO = Scenario(
    "initial_sync",
    (Operation("initial_sync", "initial sync, 100 rooms of 5 members and 20 messages", one_in=18),),
    run,
    needs=frozenset({"account"}),
)
