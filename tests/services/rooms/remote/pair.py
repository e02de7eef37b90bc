"""Two houses of different servers, without a network: what one has sent is handed to the other by the test."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.domain.event import Event
from homeserver.domain.filters import EventFilter
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.rooms.pages import PageRequest
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store
from tests.builders.cluster import Cluster
from tests.builders.house import TestHouse, open_house

HERE, THERE = "here.example", "there.example"
ALICE, EVE = f"@alice:{HERE}", f"@eve:{THERE}"


@dataclass
class Pair:
    """`here` is what the tests look at; `there` is the other server, where rooms begin."""

    here: TestHouse
    there: TestHouse
    version: RoomVersion
    room_id: str = ""
    # Ids of all events of the room, in the order in which they were sent over there.
    sent: list[str] = field(default_factory=list)

    async def begin(self, messages: int = 3) -> None:
        """EVE has a public room over there, with a few messages."""
        request = RoomRequest(self.version, "public_chat")
        self.room_id = await self.there.services.create(EVE, request)
        for number in range(messages):
            await self.say(f"before {number}")

    async def say(self, body: str, house: TestHouse | None = None, sender: str = EVE) -> Event:
        """A message of `sender`, in the house over there unless told otherwise."""
        where = house or self.there

        def work(store: Store) -> str:
            room = where.services.writer.open(store, self.room_id)
            content = {"msgtype": "m.text", "body": body}
            event_id = where.services.writer.put(room, sender=sender, type="m.room.message", content=content)
            room.save()
            return event_id

        return await self.event(where, await where.database.write(work, room=self.room_id))

    async def put(self, type: str, state_key: str, content: dict[str, Any]) -> Event:
        event_id = await self.there.services.send.state(EVE, self.room_id, type, state_key, content)
        return await self.event(self.there, event_id)

    async def event(self, house: TestHouse, event_id: str) -> Event:
        return (await self.events(house, [event_id]))[0]

    async def events(self, house: TestHouse, event_ids: Sequence[str]) -> list[Event]:
        def work(store: Store) -> list[Event]:
            numbers = store.events.find_numbers(list(event_ids))
            found = store.events.list_stored(self.version, self.room_id, numbers.values())
            return [found[numbers[event_id]].event for event_id in event_ids]

        return await house.database.read(work)

    async def all_sent(self) -> list[Event]:
        """Everything that was sent over there, oldest first."""

        def work(store: Store) -> list[str]:
            room = store.rooms.get(self.room_id)
            return [row.event_id for row in reversed(store.history.list_live(room.number, 0, 2**62, 10_000))]

        return await self.events(self.there, await self.there.database.read(work))

    async def state_before(self, event: Event) -> list[Event]:
        """The state before an event, as it is told over there."""

        def work(store: Store) -> list[str]:
            row = store.events.get(event.event_id)
            numbers = store.state.get_group(row.state_before or 0).values()
            return [one.event_id for one in store.events.list_by_numbers(numbers).values()]

        return await self.events(self.there, await self.there.database.read(work))

    async def draft_join(self) -> Event:
        """ALICE's join, accepted over there already: what a resident server's answer to send_join tells."""
        content = {"membership": "join", "displayname": "Alice"}

        def work(store: Store) -> str:
            writer: Writer = self.there.services.writer
            room = writer.open(store, self.room_id)
            event_id = writer.put(room, sender=ALICE, type="m.room.member", state_key=ALICE, content=content)
            room.save()
            return event_id

        return await self.event(self.there, await self.there.database.write(work, room=self.room_id))

    async def enter(self) -> Event:
        """ALICE joins the room through us."""
        join = await self.draft_join()
        state = await self.state_before(join)
        await self.here.services.remote.entering.enter(self.version, self.room_id, join, state, state)
        return join

    async def texts(self, user_id: str = ALICE, house: TestHouse | None = None) -> list[str]:
        """What `user_id` reads in the room by paging back, oldest first: bodies, and types of other events."""
        history = (house or self.here).services.history
        found: list[str] = []
        start: str | None = None
        while True:
            request = PageRequest(self.room_id, start, None, True, 7, EventFilter())
            page = orjson.loads(await history.page(user_id, "DEVICE", request))
            found += [event["content"].get("body", event["type"]) for event in page["chunk"]]
            start = page.get("end")
            if start is None:
                return list(reversed(found))

    async def state_ids(self, house: TestHouse) -> set[str]:
        """The current state of the room in a house."""

        def work(store: Store) -> set[str]:
            row = store.rooms.get(self.room_id)
            state = store.state.get_group(row.state_group)
            current = store.state.as_of(row.number, row.state_generation, 2**62)
            assert current == state, "the table of the current state is not what the group says"
            return {one.event_id for one in store.events.list_by_numbers(state.values()).values()}

        return await house.database.read(work)


@asynccontextmanager
async def open_pair(cluster: Cluster, version: str = "12") -> AsyncIterator[Pair]:
    async with open_house(cluster, server_name=HERE) as here, open_house(cluster, server_name=THERE) as there:
        yield Pair(here, there, ROOM_VERSIONS[version])
