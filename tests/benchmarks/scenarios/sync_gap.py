"""Incremental sync of a device that was away while 500 messages came into 50 of its account's 100 rooms."""

from tests.benchmarks.matrix import Reply, at_most, login
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect
from tests.benchmarks.scenarios.delivery_long_poll import messages_in

MESSAGES_EACH = 10


async def run(bench: Bench) -> list[Sample]:
    """Each device comes back to all of it, in one sync, and hears of nothing else."""
    account = bench.place("account")
    devices = [(await login(account.people[0]))[0] for _ in range(bench.scale.initial_syncs)]
    stands = [await device.catch_up() for device in devices]
    rooms = list(account.rooms)[: len(account.rooms) // 2]

    async def talk(room: str) -> None:
        for number in range(MESSAGES_EACH):
            event_id, _ = await account.people[1].send(room, f"while you were away {number}")
            account.rooms[room].append(event_id)

    await at_most(4, talk, rooms)
    replies: list[Reply] = []
    async with bench.phase() as phase:
        for device, since in zip(devices, stands, strict=True):
            replies.append(await device.sync(since))
    for reply in replies:
        expect(set(reply.content["rooms"]["join"]) == set(rooms), "it tells of other rooms than those with news")
        for room in rooms:
            expect(messages_in(reply, room) == account.rooms[room][-MESSAGES_EACH:], f"the timeline of {room} is wrong")
    return [phase.sample("sync_gap", len(replies), [reply.milliseconds for reply in replies])]


SCENARIO = Scenario(
    "sync_gap",
    (Operation("sync_gap", "sync over a gap of 500 messages in 50 rooms", one_in=20),),
    run,
    needs=frozenset({"account"}),
)
