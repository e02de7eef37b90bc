"""Decision 5: what do others notice while an event of a room waits a second for another server's signature?"""

import asyncio
import time
from functools import partial

from docs.decisions.spikes.ground import Ground, ground, new_room, say, send
from homeserver.domain.event import Event
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store

NETWORK_SECONDS = 1.0


def draft(writer: Writer, room_id: str, sender: str, store: Store) -> Event:
    return drafted(writer, writer.open(store, room_id), sender)


def drafted(writer: Writer, room: LockedRoom, sender: str) -> Event:
    content = {"membership": "invite"}
    return writer._draft(room, sender=sender, type="m.room.member", content=content, state_key="@bob:far.example")


def append(writer: Writer, room_id: str, event: Event, store: Store) -> str:
    room = writer.open(store, room_id)
    verdict = writer._append(room, event)
    room.save()
    return type(verdict).__name__


def all_at_once(writer: Writer, room_id: str, sender: str, store: Store) -> str:
    """What a transaction that waits for the network would do."""
    room = writer.open(store, room_id)
    event = drafted(writer, room, sender)
    time.sleep(NETWORK_SECONDS)
    verdict = writer._append(room, event)
    room.save()
    return type(verdict).__name__


async def invite(ground: Ground, room_id: str, sender: str, three_steps: bool) -> str:
    writer, database = ground.house.writer, ground.database
    if not three_steps:
        return await database.write(partial(all_at_once, writer, room_id, sender), room=room_id)
    event = await database.write(partial(draft, writer, room_id, sender), room=room_id)
    await asyncio.sleep(NETWORK_SECONDS)
    return await database.write(partial(append, writer, room_id, event), room=room_id)


async def talk(ground: Ground, room_id: str, user: str, start: int, until: float) -> list[float]:
    times = []
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        started = loop.time()
        await send(ground.house, user, room_id, start + len(times))
        times.append(loop.time() - started)
        await asyncio.sleep(0.02)
    return times


async def main() -> None:
    async with ground() as under:
        room_id, users = await new_room(under.house, 5)
        for name, three_steps in (("lock held over the network", False), ("draft, network, append", True)):
            until = asyncio.get_running_loop().time() + 2 * NETWORK_SECONDS
            talkers = [talk(under, room_id, user, three_steps * 10_000, until) for user in users[1:]]
            verdict, *times = await asyncio.gather(invite(under, room_id, users[0], three_steps), *talkers)
            flat = [one for part in times for one in part]
            say(f"{name}: the invite is {verdict}; {len(flat)} messages of others, the slowest {max(flat):.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
