"""People of running servers: clients with accounts of their own, in servers that others use too.

async with AsyncExitStack() as stack:
    alice = await person(stack, server, "alice")
"""

import itertools
from contextlib import AsyncExitStack
from typing import Any

from tests.builders.process import ServerProcess
from tests.conformance.client import MatrixClient, v3

_numbers = itertools.count(1)


async def person(stack: AsyncExitStack, server: ServerProcess, name: str) -> MatrixClient:
    """Somebody new, whose name begins with `name`."""
    client = await stack.enter_async_context(MatrixClient(server.url))
    await client.register(f"{name}{next(_numbers)}")
    return client


async def history(client: MatrixClient, room: str, way: str = "b", limit: int = 10) -> list[dict[str, Any]]:
    """All events of a room, oldest first, read page by page in one direction."""
    found: list[dict[str, Any]] = []
    start = None
    while True:
        page = await client.messages(room, start, dir=way, limit=limit)
        found += page["chunk"]
        start = page.get("end")
        if start is None:
            return found if way == "f" else found[::-1]


async def told_ids(client: MatrixClient, room: str, way: str = "b", limit: int = 10) -> list[str]:
    """The ids of `history`."""
    return [event["event_id"] for event in await history(client, room, way, limit)]


async def state_ids(client: MatrixClient, room: str) -> dict[tuple[str, str], str]:
    """The event that stands at each place of the state."""
    return {(event["type"], event["state_key"]): event["event_id"] for event in await client.state(room)}


async def event_of(client: MatrixClient, room: str, event_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.call("GET", v3("rooms", room, "event", event_id))
    return found
