"""Paging back through 2,000 messages of a room, 100 events to a page, as three members one after the other."""

from typing import Any

from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect

READERS = 3
MOST_PAGES = 1000


async def run(bench: Bench) -> list[Sample]:
    """Walks to the start of the room; each walk must give every message once, in order."""
    place = bench.place("history")
    walks: list[list[dict[str, Any]]] = []
    latencies: list[float] = []
    async with bench.phase() as phase:
        for reader in place.people[:READERS]:
            walk: list[dict[str, Any]] = []
            start: str | None = None
            for _ in range(MOST_PAGES):
                reply = await reader.page_back(place.room, start)
                latencies.append(reply.milliseconds)
                walk += reply.content["chunk"]
                start = reply.content.get("end")
                if start is None or not reply.content["chunk"]:
                    break
            walks.append(walk)
    for walk in walks:
        told = [event["event_id"] for event in reversed(walk) if event["type"] == "m.room.message"]
        expect(told == place.rooms[place.room], "the pages do not hold every message once, in order")
    return [phase.sample("messages_page", len(latencies), latencies)]


SCENARIO = Scenario(
    "messages_page",
    (Operation("messages_page", "`/messages`, 100 events", one_in=8),),
    run,
    needs=frozenset({"history"}),
)
