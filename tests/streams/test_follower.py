"""A follower acts upon everything once or more often, in order, and never skips."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from homeserver.domain.errors import Unavailable
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from homeserver.storage.events import EventRow
from homeserver.storage.stream import EventStream
from homeserver.streams.follower import BATCH, SAVE_EVERY, Follower
from homeserver.streams.publications import Publication
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse
from tests.streams.items import event_at, typing_at


class Stream:
    """Events at positions, with a watermark; implements Source and Watermark in memory."""

    def __init__(self, upto: int = 0) -> None:
        self.positions: list[int] = []
        self.upto = upto
        self.cursors: dict[str, int] = {}
        self.saves: list[int] = []
        self.reads = 0
        self.fail_saves = 0
        self._changed = asyncio.Condition()
        self._listeners: list[Callable[[Publication], None]] = []

    def publish(self, *positions: int) -> None:
        for position in positions:
            self.positions.append(position)
            self.upto = position
            self._tell(event_at(position))

    def type(self, position: int) -> None:
        self.upto = position
        self._tell(typing_at(position))

    def _tell(self, publication: Publication) -> None:
        for listener in self._listeners:
            listener(publication)

    def current(self) -> int:
        return self.upto

    def listen(self, listener: Callable[[Publication], None]) -> None:
        self._listeners.append(listener)

    async def list_batch(self, after: int, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        self.reads += 1
        await asyncio.sleep(0)
        return [(one, f"${one}") for one in self.positions if after < one <= upto][:limit]

    async def find_cursor(self, name: str) -> int | None:
        return self.cursors.get(name)

    async def save_cursor(self, name: str, position: int) -> None:
        if self.fail_saves:
            self.fail_saves -= 1
            raise OSError("the database is away")
        self.cursors[name] = position
        self.saves.append(position)
        async with self._changed:
            self._changed.notify_all()

    async def saved(self, position: int) -> None:
        """Returns when a cursor stands at `position` or after it."""
        async with self._changed:
            await asyncio.wait_for(
                self._changed.wait_for(lambda: max(self.cursors.values(), default=-1) >= position), 20
            )


class Deeds:
    """What was acted upon. `wait_for` returns once so many items came."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.batches: list[int] = []
        self.failures = 0
        self.error: Exception = ConnectionError("the gateway is away")
        self._more = asyncio.Condition()

    async def __call__(self, items: Sequence[str]) -> None:
        async with self._more:
            self._more.notify_all()
            if self.failures:
                self.failures -= 1
                raise self.error
            self.items += items
            self.batches.append(len(items))

    async def wait_for(self, count: int) -> None:
        async with self._more:
            await asyncio.wait_for(self._more.wait_for(lambda: len(self.items) >= count), 20)


@asynccontextmanager
async def following(
    stream: Stream, act: Callable[[Sequence[str]], Awaitable[None]], begin: int | None = None
) -> AsyncIterator[Follower[str]]:
    follower: Follower[str] = Follower("test", stream, stream, act, begin=begin, first_pause=0.001)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        follower.stop()
        await asyncio.wait_for(task, 20)


def lag() -> float | None:
    return REGISTRY.get_sample_value("parley_follower_lag", {"follower": "test"})


async def test_everything_is_acted_upon_in_order() -> None:
    """What was there and what comes, each item once, in bounded batches; the lag returns to nothing."""
    stream, deeds = Stream(), Deeds()
    stream.publish(*range(1, 2 * BATCH + 31))
    async with following(stream, deeds, begin=0):
        await deeds.wait_for(2 * BATCH + 30)
        stream.publish(1000, 1001)
        await deeds.wait_for(2 * BATCH + 32)

    assert deeds.items == [f"${position}" for position in stream.positions]
    assert deeds.batches[:3] == [BATCH, BATCH, 30]
    assert max(deeds.batches) == BATCH
    assert lag() == 0


async def test_first_start_begins_where_it_is_told() -> None:
    """A follower that never ran begins with what comes from now on, or with everything; a cursor goes before both."""
    for begin, cursor, expected in (
        (None, None, ["$6"]),
        (0, None, ["$5", "$6"]),
        (0, 5, ["$6"]),
        (None, 4, ["$5", "$6"]),
    ):
        stream, deeds = Stream(), Deeds()
        stream.publish(5)
        if cursor is not None:
            stream.cursors["test"] = cursor
        async with following(stream, deeds, begin=begin):
            await stream.saved(0)
            stream.publish(6)
            await deeds.wait_for(len(expected))
        assert deeds.items == expected


async def test_failed_act_comes_again() -> None:
    """An act that fails is reported and repeated with the same items until it succeeds; nothing is skipped."""
    before = REGISTRY.get_sample_value("parley_unforeseen_errors_total", {"where": "follower"}) or 0.0
    stream, deeds = Stream(), Deeds()
    deeds.failures = 4
    async with following(stream, deeds, begin=0):
        stream.publish(1, 2, 3)
        await deeds.wait_for(3)

    assert deeds.items == ["$1", "$2", "$3"]
    assert REGISTRY.get_sample_value("parley_unforeseen_errors_total", {"where": "follower"}) == before + 4


async def test_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Who runs the server can read which follower it was, and why."""
    stream, deeds = Stream(), Deeds()
    deeds.failures = 1
    async with following(stream, deeds, begin=0):
        stream.publish(1)
        await deeds.wait_for(1)

    assert [record.getMessage() for record in caplog.records] == ["the follower test failed, and tries again in 0.0 s"]
    assert "the gateway is away" in caplog.text


async def test_a_database_that_is_away_is_no_failure_of_the_follower(caplog: pytest.LogCaptureFixture) -> None:
    """It waits for it, and goes on; others tell of the database."""
    before = REGISTRY.get_sample_value("parley_unforeseen_errors_total", {"where": "follower"}) or 0.0
    stream, deeds = Stream(), Deeds()
    deeds.failures, deeds.error = 2, Unavailable("the database is away")
    async with following(stream, deeds, begin=0):
        stream.publish(1)
        await deeds.wait_for(1)

    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert REGISTRY.get_sample_value("parley_unforeseen_errors_total", {"where": "follower"}) in (before, None)


async def test_cursor_that_cannot_be_saved() -> None:
    """Without the save the batch comes again: twice is better than never."""
    stream, deeds = Stream(), Deeds()
    async with following(stream, deeds, begin=0):
        await stream.saved(0)
        stream.fail_saves = 1
        stream.publish(1, 2)
        await deeds.wait_for(4)

    assert deeds.items == ["$1", "$2", "$1", "$2"]
    assert stream.cursors["test"] == 2


async def test_crash_between_act_and_save() -> None:
    """What was acted upon and not saved comes again with the next start, and nothing before it."""
    stream, deeds = Stream(), Deeds()
    stream.publish(1)
    async with following(stream, deeds, begin=0):
        await deeds.wait_for(1)
    acting = asyncio.Event()

    async def hang(items: Sequence[str]) -> None:
        await deeds(items)
        acting.set()
        await asyncio.Event().wait()

    stream.publish(2)
    task = asyncio.create_task(Follower("test", stream, stream, hang).run())
    await asyncio.wait_for(acting.wait(), 20)
    task.cancel()
    await asyncio.wait([task])
    async with following(stream, deeds):
        await deeds.wait_for(3)

    assert deeds.items == ["$1", "$2", "$2"]


async def test_stop_lets_the_batch_finish() -> None:
    """After `stop` the act that runs ends as always, its cursor is saved, and no other begins."""
    stream = Stream()
    acting, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def act(items: Sequence[str]) -> None:
        acting.set()
        await go_on.wait()
        done.extend(items)

    stream.publish(*range(1, BATCH + 2))
    follower: Follower[str] = Follower("test", stream, stream, act, begin=0)
    task = asyncio.create_task(follower.run())
    await asyncio.wait_for(acting.wait(), 20)
    follower.stop()
    go_on.set()
    await asyncio.wait_for(task, 20)

    assert len(done) == BATCH
    assert stream.cursors["test"] == BATCH


async def test_stop_does_not_wait_for_a_pause() -> None:
    """A follower that is about to try again after a failure stops at once."""
    stream, failed = Stream(), asyncio.Event()

    async def fail(items: Sequence[str]) -> None:
        failed.set()
        raise ConnectionError("the gateway is away")

    stream.publish(1)
    follower: Follower[str] = Follower("test", stream, stream, fail, begin=0, first_pause=1000)
    task = asyncio.create_task(follower.run())
    await asyncio.wait_for(failed.wait(), 20)
    follower.stop()
    await asyncio.wait_for(task, 20)


async def test_other_publications_cost_next_to_nothing() -> None:
    """Who types wakes no follower; the cursor is saved over long stretches without events all the same."""
    stream, deeds = Stream(), Deeds()
    async with following(stream, deeds, begin=0):
        stream.publish(1)
        await deeds.wait_for(1)
        await stream.saved(1)
        reads = stream.reads
        for position in range(2, SAVE_EVERY * 2):
            stream.type(position)
            await asyncio.sleep(0)
        assert stream.reads == reads
        stream.publish(SAVE_EVERY * 2)
        await deeds.wait_for(2)

    assert stream.saves == [0, 1, SAVE_EVERY * 2]


async def test_events_of_a_real_house(house: TestHouse) -> None:
    """Over a restart of the follower, every event of every room comes once, as the tables have it."""
    services, stream = house.services, EventStream(house.database)
    seen: list[str] = []
    enough = asyncio.Event()
    expected: list[str] = []

    async def act(rows: Sequence[EventRow]) -> None:
        seen.extend(row.event_id for row in rows)
        if set(expected) <= set(seen):
            enough.set()

    async def say(room: str, number: int) -> None:
        content = {"msgtype": "m.text", "body": str(number)}
        expected.append(
            await services.send.message("@a:test.example", "D", room, "m.room.message", f"t{number}", content)
        )

    rooms = [
        await services.create("@a:test.example", RoomRequest(ROOM_VERSIONS["12"], "private_chat")) for _ in range(2)
    ]
    for turn in range(2):
        follower: Follower[EventRow] = Follower("search", stream, house.streams.publisher, act, begin=0)
        task = asyncio.create_task(follower.run())
        for number in range(10):
            await say(rooms[number % 2], turn * 10 + number)
        enough.clear()
        if not set(expected) <= set(seen):
            await asyncio.wait_for(enough.wait(), 20)
        follower.stop()
        await asyncio.wait_for(task, 20)

    assert len(seen) == len(set(seen))
    assert [event_id for event_id in seen if event_id in expected] == expected
    assert await stream.find_cursor("search") == house.streams.publisher.current()


async def test_only_what_concerns_it_wakes_it() -> None:
    """A follower that says which events its source lists is not woken by others."""
    stream, deeds = Stream(), Deeds()
    follower: Follower[str] = Follower(
        "test", stream, stream, deeds, begin=0, first_pause=0.001, concerns=lambda item: item.event_id != "$2"
    )
    task = asyncio.create_task(follower.run())
    stream.publish(1)
    await deeds.wait_for(1)
    await stream.saved(1)
    reads = stream.reads
    stream.publish(2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert stream.reads == reads
    stream.publish(3)
    await deeds.wait_for(3)
    assert deeds.items == ["$1", "$2", "$3"]
    follower.stop()
    await asyncio.wait_for(task, 20)
