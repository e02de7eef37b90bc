"""Somebody says something, and finds it again: the index is kept by the server itself, also across its restarts."""

from typing import Any

from tests.builders.process import ServerProcess
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3


async def find(client: MatrixClient, term: str) -> list[str]:
    body = {"search_categories": {"room_events": {"search_term": term, "order_by": "recent"}}}
    answer: dict[str, Any] = await client.call("POST", v3("search"), body)
    return [result["result"]["event_id"] for result in answer["search_categories"]["room_events"]["results"]]


async def test_search_follows_what_is_said(own_server: ServerProcess) -> None:
    """What was just said can be found soon, before and after a restart; the metrics tell of it."""
    async with MatrixClient(own_server.url) as alice:
        await alice.register("alice")
        room = await alice.create_room()
        first = await alice.send(room, "the quick brown fox")

        async def finds(term: str, *wanted: str) -> bool:
            return await find(alice, term) == [*wanted]

        await until(lambda: finds("quick", first))
        second = await alice.send(room, "a quick goodbye")
        assert await own_server.stop() == 0
        await own_server.start()
        await until(lambda: finds("quick", second, first))
        assert await own_server.metric("parley_search_bytes_per_event") >= 0
