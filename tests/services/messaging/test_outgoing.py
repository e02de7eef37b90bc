"""What is given to those who tell other servers what our users type and read."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from homeserver.services.messaging.outgoing import OutgoingEdus
from homeserver.services.rooms.remote.outgoing import Outgoing, OutgoingReceipt
from homeserver.services.rooms.remote.servers import RoomServers
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.waiting import until
from tests.services.rooms.scene import ALICE, BOB, EVE, MEMBER, OTHER_SERVER, Scene, open_scene


class Given:
    """Implements `Sink`: remembers."""

    def __init__(self) -> None:
        self.receipts: list[tuple[list[str], str]] = []
        self.typing: list[tuple[list[str], str, bool]] = []
        self.position = 0

    def add_receipt(self, servers: Sequence[str], receipt: OutgoingReceipt) -> None:
        self.receipts.append((list(servers), receipt.event_id))

    def set_typing(self, servers: Sequence[str], room_id: str, user_id: str, typing: bool) -> None:
        self.typing.append((list(servers), user_id, typing))

    def heard(self, position: int) -> None:
        self.position = max(self.position, position)


@pytest.fixture
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    async with open_scene(cluster) as opened:
        yield opened


@pytest.fixture
async def given(scene: Scene) -> AsyncIterator[Given]:
    publisher, database = scene.built.publisher, scene.database
    servers = RoomServers(database, publisher, SERVER_NAME)
    edus = OutgoingEdus(publisher, servers, Outgoing(database, SERVER_NAME), again=0.05)
    await scene.room()  # so that there is a position
    sink = Given()
    task = asyncio.create_task(edus.run(None, sink))
    await until(lambda: sink.position)
    yield sink
    edus.stop()
    await task


async def test_typing_is_told_again(scene: Scene, given: Given) -> None:
    """For other servers forget it; until it ends."""
    room_id = await scene.room()
    await scene.remote_join(room_id, EVE)
    await scene.services.typing.set(ALICE, room_id, 60.0)
    await until(lambda: len(given.typing) >= 3)
    assert set(map(str, given.typing)) == {str(([OTHER_SERVER], ALICE, True))}
    await scene.services.typing.set(ALICE, room_id, 0.0)
    await until(lambda: given.typing[-1] == ([OTHER_SERVER], ALICE, False))


async def test_the_servers_are_those_of_now(scene: Scene, given: Given) -> None:
    """Who has left is not told any more, and who came is, although the room's servers are remembered."""
    room_id = await scene.room(members=[BOB])
    ids = [await scene.say(ALICE, room_id, str(number)) for number in range(3)]
    await scene.services.receipts.set(BOB, room_id, {"m.read": ids[0]}, None)
    await scene.remote_join(room_id, EVE)
    await scene.services.receipts.set(BOB, room_id, {"m.read": ids[1]}, None)
    await until(lambda: given.receipts)
    await scene.remote(room_id, EVE, MEMBER, {"membership": "leave"}, EVE)
    await scene.services.receipts.set(BOB, room_id, {"m.read": ids[2]}, None)
    await until(lambda: len(given.receipts) == 2)
    assert given.receipts == [([OTHER_SERVER], ids[1]), ([], ids[2])]
    (row,) = await scene.sql("SELECT max(position) FROM receipts")
    assert given.position == row[0]
