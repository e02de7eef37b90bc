"""Servers that do not answer: who is told what, and what is kept."""

import asyncio

import pytest

from federation import backoff as module
from federation.backoff import Backoff
from homeserver.domain.errors import Unavailable
from homeserver.domain.outage import FIRST_MS, MOST_MS, Outage
from tests.builders.machine import HandClock
from tests.federation.calling import KeptInMemory


class World:
    """Starts anew with `restart`: only what was kept is known then."""

    def __init__(self, kept: KeptInMemory | None = None) -> None:
        self.clock = HandClock()
        self.kept = kept or KeptInMemory()
        self.told: list[str] = []
        self.restart()

    def restart(self) -> None:
        self.backoff = Backoff(self.kept, self.clock, lambda: 0.0)
        self.backoff.listen(self.told.append)

    async def fail(self) -> None:
        await self.backoff.failed("one.test", self.clock.ms)

    async def wait_ms(self) -> int:
        return await self.backoff.wait_ms("one.test")


@pytest.fixture
def world() -> World:
    return World()


async def test_an_outage_begins_and_ends(world: World) -> None:
    """Its pause runs, doubles, and is forgotten when the server answers; then, and only then, the listeners hear."""
    assert await world.wait_ms() == 0
    await world.backoff.succeeded("one.test")
    await world.fail()
    assert await world.wait_ms() == FIRST_MS
    world.clock.ms += FIRST_MS
    assert await world.wait_ms() == 0
    await world.fail()
    assert await world.wait_ms() == 2 * FIRST_MS
    assert await world.backoff.wait_ms("two.test") == 0
    assert world.told == []
    await world.backoff.succeeded("one.test")
    assert await world.wait_ms() == 0
    assert world.told == ["one.test"]
    assert world.kept.rows == {}


async def test_an_outage_outlives_a_restart(world: World) -> None:
    """It is looked up when somebody wants the server, once; so are those that answer."""
    await world.fail()
    world.restart()
    reads = world.kept.reads
    assert [await world.wait_ms() for _ in range(3)] == [FIRST_MS] * 3
    assert [await world.backoff.wait_ms("two.test") for _ in range(3)] == [0] * 3
    assert world.kept.reads == reads + 2
    world.restart()
    await world.wait_ms()
    await world.backoff.succeeded("one.test")
    assert (world.kept.rows, world.told) == ({}, ["one.test"])


async def test_many_failures_at_once_are_one(world: World) -> None:
    """Ten calls under way tell no more than one."""
    begun = world.clock.ms
    world.clock.ms += 10_000
    await asyncio.gather(*(world.backoff.failed("one.test", begun) for _ in range(10)))
    assert await world.wait_ms() == FIRST_MS


async def test_a_sign_of_life(world: World) -> None:
    """A server that calls us may be tried, and what waits for it is told; but it cannot make us try all the time."""
    world.kept.rows["one.test"] = Outage(world.clock.ms - 10**7, world.clock.ms, world.clock.ms + MOST_MS, MOST_MS)
    world.clock.ms += 60_000
    await world.backoff.sign_of_life("one.test")
    assert (await world.wait_ms(), world.told) == (0, ["one.test"])
    for _ in range(3):
        await world.backoff.sign_of_life("one.test")
    assert world.told == ["one.test"]
    await world.fail()
    await world.backoff.sign_of_life("one.test")
    assert await world.wait_ms() == 30_000
    await world.backoff.sign_of_life("unknown.test")
    assert world.told == ["one.test", "one.test"]


async def test_a_database_that_is_away() -> None:
    """A server of which nothing is known may be called, and its outage counts all the same."""

    class Broken(KeptInMemory):
        async def find(self, server_name: str) -> Outage | None:
            raise Unavailable("away")

        async def keep(self, server_name: str, outage: Outage | None) -> None:
            raise Unavailable("away")

    world = World(Broken())
    assert await world.wait_ms() == 0
    await world.fail()
    assert await world.wait_ms() == FIRST_MS


async def test_servers_are_bounded(world: World) -> None:
    """Those that were wanted last are remembered; the others are looked up again."""
    await world.fail()
    for number in range(module.MAX_REMEMBERED):
        await world.backoff.wait_ms(f"{number}.test")
    reads = world.kept.reads
    assert await world.wait_ms() == FIRST_MS
    assert world.kept.reads == reads + 1
