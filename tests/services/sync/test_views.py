"""Which Views go when there are too many, or when nobody asks for them.

architecture.md, section 6
"""

from collections.abc import AsyncIterator

import pytest

from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.sync import views
from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, read_answer
from tests.services.sync.world import World, open_world

ALICE = "@alice:test.example"


class Devices:
    """Of one user: each syncs on its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clients: dict[str, Client] = {}

    async def live(self, *names: str) -> None:
        """They get a View, if they have none, and use it."""
        for name in names:
            client = self._clients.setdefault(name, Client(ALICE, name, {}))
            while client.request().since is None or not self.has(name):
                client.hear(read_answer(await self._world.house.sync(client.request(0.001))))
            self.use(name)

    def use(self, name: str) -> None:
        """Without a task, as over a WebSocket."""
        told: list[bytes | None] = []
        request = self._clients[name].request(0.0)
        hearing = self._world.house.sync.listen(request, str(request.since), lambda answer, _: told.append(answer))
        assert hearing is not None
        assert told[0] is not None
        self._clients[name].hear(read_answer(told[0]))

    def has(self, name: str) -> bool:
        return self._clients[name].request().live_key in self._world.house.sync._views

    @property
    def size(self) -> int:
        return self._world.house.sync.size[0]


@pytest.fixture
async def devices(cluster: Cluster) -> AsyncIterator[Devices]:
    async with open_world(cluster) as world:
        await world.house.create(ALICE, RoomRequest(DEFAULT_ROOM_VERSION, "private_chat"))
        yield Devices(world)


async def test_without_room_whoever_was_not_used_goes_first(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest stays if it was used since, and there is never more than there is room for and the newest."""
    await devices.live("A", "B", "C")
    monkeypatch.setattr(views, "MAX_VIEW_BYTES", devices._world.house.sync.size[1] - 1)
    for name in "ABC":
        devices.use(name)
    await devices.live("D")
    assert devices.size == 3
    devices.use("B")
    devices.use("C")
    had = [name for name in "ABC" if devices.has(name)]
    await devices.live("E")
    assert devices.size == 3
    assert had == ["B", "C"]


async def test_idle_ones_go_when_another_comes(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who were used lately stay, wherever they stand in line."""
    now = 1_000.0
    monkeypatch.setattr(views, "monotonic", lambda: now)
    await devices.live("A", "B", "C", "D")
    now += views.IDLE_SECONDS + 1
    devices.use("A")
    devices.use("D")
    await devices.live("E")
    assert [name for name in "ABCDE" if devices.has(name)] == ["A", "D", "E"]
