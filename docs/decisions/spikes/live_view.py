"""Decision 4: what does it cost to tell a waiting device of a message, from memory and from the tables?"""

import asyncio
from dataclasses import replace

import orjson

from docs.decisions.spikes.ground import Ground, Meter, count_round_trips, ground, new_room, say, send
from homeserver.domain.filters import SyncFilter
from homeserver.services.sync.request import SyncRequest
from homeserver.services.tokens import parse_sync_token
from homeserver.streams.tail import Tail

MESSAGES, DEVICES = 30, 10


class NoTail(Tail):
    """Holds nothing, so that every answer comes from the tables."""

    def append(self, publication: object) -> None:
        self._floor = 1 << 62


async def deliver(ground: Ground, room: str, users: list[str], name: str, first: int, drop: bool = False) -> None:
    """Sends messages one by one; each device syncs after each. Only the syncs are measured."""
    house = ground.house
    requests = [SyncRequest(user, "D", None, 0, SyncFilter()) for user in users[:DEVICES]]
    requests = [await advanced(ground, request) for request in requests]
    requests = [await advanced(ground, request) for request in requests]
    own = backends = 0.0
    statements = ""
    for number in range(MESSAGES):
        await send(house, users[-1], room, first + number)
        if drop:
            house.sync.drop_views()
        meter = Meter(ground.server)
        requests = [await advanced(ground, request) for request in requests]
        cpu, statements = meter.cpu(), meter.statements_per(DEVICES)
        own, backends = own + cpu[0], backends + cpu[1]
    count = MESSAGES * DEVICES
    say(f"{name}: a sync costs {own / count:.2f} ms CPU in Parley + {backends / count:.2f} in PostgreSQL, {statements}")


async def advanced(ground: Ground, request: SyncRequest) -> SyncRequest:
    answer = orjson.loads(await ground.house.sync(request))
    return replace(request, since=parse_sync_token(answer["next_batch"]))


async def main() -> None:
    count_round_trips()
    async with ground() as under:
        room, users = await new_room(under.house, 30)
        await deliver(under, room, users, "View and tail", 0)
        await deliver(under, room, users, "tail, the View dropped before each sync", 1_000, drop=True)
        under.house.sync._tail = NoTail(0)
        under.house.sync._tail._floor = 1 << 62
        await deliver(under, room, users, "tables", 2_000)


if __name__ == "__main__":
    asyncio.run(main())
