"""Coming back: what a sync reads of its user, for one and for many at once."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from homeserver.domain.errors import Unavailable
from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.sync.live import Viewpoint
from homeserver.services.sync.viewpoints import Viewpoints
from homeserver.storage.database import Database
from homeserver.storage.store import Store
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse
from tests.services.sync.client_model import Client, read_answer

T = TypeVar("T")

ALICE = "@alice:test.example"
OTHERS = [f"@user{number}:test.example" for number in range(30)]


async def statements(house: TestHouse) -> float:
    """Of the process, so far; nothing is under way."""
    await house.database.settle()
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


async def gather_all(house: TestHouse) -> tuple[str, str]:
    """Alice's two rooms: everybody is in the first; the second they were in or are invited to."""
    services = house.services
    rooms = [await services.create(ALICE, RoomRequest(DEFAULT_ROOM_VERSION, "public_chat")) for _ in range(2)]
    for number, user_id in enumerate(OTHERS):
        await services.membership.join(user_id, rooms[0])
        if number % 3 == 0:
            await services.membership.join(user_id, rooms[1])
            await services.membership.leave(user_id, rooms[1])
    return rooms[0], rooms[1]


class Away:
    """A database that does nothing until it is let go, and then perhaps fails."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.goes_on = asyncio.Event()
        self.error: Exception | None = None
        self.reads = 0

    async def read(self, work: Callable[[Store], T], *, single: bool = False) -> T:
        self.reads += 1
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        return await self._database.read(work, single=single)

    async def read_long(self, work: Callable[[Store], T]) -> T:
        return await self._database.read_long(work)

    async def write(self, work: Callable[[Store], T], *, room: str | None = None) -> T:
        return await self._database.write(work, room=room)


async def test_together_as_alone(house: TestHouse) -> None:
    """Whoever comes with others learns the same as alone, in one statement for all who came meanwhile."""
    first, _ = await gather_all(house)

    def set_up(store: Store) -> None:
        position = store.take_position()
        content = f'{{"ignored_users":{{"{OTHERS[1]}":{{}},"{OTHERS[0]}":{{}}}}}}'
        store.account_data.put(OTHERS[0], 0, "m.ignored_user_list", content, position)
        store.counts.set_classes(OTHERS[0], position, {0: "mine", 7: "other"})

    await house.database.write(set_up)
    viewpoints = Viewpoints(house.database, house.streams.publisher)
    before = await statements(house)
    alone = [(await viewpoints.read(user_id))[0] for user_id in OTHERS]
    assert await statements(house) - before == len(OTHERS)
    before = await statements(house)
    together = [found for found, _ in await asyncio.gather(*map(viewpoints.read, OTHERS))]
    assert await statements(house) - before == 2
    assert together == alone
    assert [list(one.joined.values()) for one in together] == [[first]] * len(OTHERS)
    assert together[0].ignored == {OTHERS[1]}
    assert [(room, name) for room, _, name in together[0].classes] == [(0, "mine"), (7, "other")]
    # A membership of any kind counts as the newest, not only that of a joined room.
    assert together[3].newest > together[1].newest
    nobody, _ = await viewpoints.read("@nobody:test.example")
    assert nobody == Viewpoint({}, frozenset(), (), 0)


async def test_one_who_leaves_takes_nothing_from_the_others(house: TestHouse) -> None:
    """Cancelled while the read is under way, or while it waits for the one before."""
    await gather_all(house)
    away = Away(house.database)
    viewpoints = Viewpoints(away, house.streams.publisher)
    asking = [asyncio.create_task(viewpoints.read(user_id)) for user_id in (*OTHERS[:4], OTHERS[1])]
    await asyncio.sleep(0)
    asking[0].cancel()
    asking[2].cancel()
    away.goes_on.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False, True, False, False]
    assert found[1] == found[4]
    assert away.reads == 2


async def test_all_are_told_that_the_database_is_away(house: TestHouse) -> None:
    """And whoever comes later is served."""
    away = Away(house.database)
    viewpoints = Viewpoints(away, house.streams.publisher)
    asking = [asyncio.create_task(viewpoints.read(user_id)) for user_id in OTHERS[:3]]
    await asyncio.sleep(0)
    away.error = Unavailable("The database is away")
    away.goes_on.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * 3
    away.error = None
    assert (await viewpoints.read(OTHERS[0]))[0].joined == {}


async def test_in_a_crowd_a_comeback_takes_no_more_statements_than_alone(house: TestHouse) -> None:
    """The first syncs of a process that knows none of its clients any more, after something was missed."""
    first, _ = await gather_all(house)
    sync = house.services.sync
    clients = [Client(user_id, "D0", {}) for user_id in OTHERS]
    for client in clients:
        client.hear(read_answer(await sync(client.request())))
    await house.services.membership.join("@late:test.example", first)
    sync.drop_views()
    before = await statements(house)
    answers = [await sync(clients[0].request())]
    quiet = await statements(house) - before
    # One for the viewpoint; BEGIN, four for unread counts, and COMMIT.
    assert quiet <= 7
    before = await statements(house)
    answers += await asyncio.gather(*(sync(client.request()) for client in clients[1:]))
    assert await statements(house) - before <= (quiet - 1) * (len(clients) - 1) + 2
    for answer in answers:
        [event] = read_answer(answer)["rooms"]["join"][first]["timeline"]["events"]
        assert event["state_key"] == "@late:test.example"
