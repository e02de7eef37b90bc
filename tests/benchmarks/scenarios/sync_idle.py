"""Incremental sync of an account in 100 rooms when nothing has happened.

Each request has a filter of its own, so that no server can answer from a cache of whole answers.
"""

from tests.benchmarks.matrix import login
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect
from tests.benchmarks.scenarios.delivery_long_poll import messages_in


async def run(bench: Bench) -> list[Sample]:
    """Syncs with timeout=0; then something happens, and the same device must hear of it."""
    account = bench.place("account")
    device, _ = await login(account.people[0])
    since = (await device.sync()).content["next_batch"]
    since = (await device.sync(since)).content["next_batch"]
    latencies: list[float] = []
    async with bench.phase() as phase:
        for number in range(bench.scale.idle_syncs):
            reply = await device.sync(since, sync_filter={"room": {"timeline": {"limit": 10 + number}}})
            latencies.append(reply.milliseconds)
            since = reply.content["next_batch"]
            expect(not reply.content.get("rooms", {}).get("join"), "a sync with nothing new brought rooms")
    room = next(iter(account.rooms))
    event_id, _ = await account.people[1].send(room, "something new")
    account.rooms[room].append(event_id)
    expect(messages_in(await device.sync(since), room) == [event_id], "the sync after the idle ones misses the news")
    return [phase.sample("sync_idle", len(latencies), latencies)]


SCENARIO = Scenario(
    "sync_idle",
    (Operation("sync_idle", "incremental sync, nothing new", one_in=20),),
    run,
    needs=frozenset({"account"}),
)
