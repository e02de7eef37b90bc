"""What look-ups brought is remembered: for how long, and what of it if new ones fail."""

import asyncio

import pytest

from federation.lanes import TooManyWaiting
from federation.memory import Gate, Memory
from homeserver.domain.errors import RemoteUnreachable


class Source:
    """Gives the next of its answers at each look-up; an exception is raised. Waits for `gate`, if it is set."""

    def __init__(self, *answers: str | Exception, seconds: float = 600.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> tuple[str, float]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, self.seconds


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


AWAY = RemoteUnreachable("away")


async def test_an_answer_counts_for_its_time() -> None:
    """Then it is looked up again."""
    time, source = Time(), Source("a", "b")
    memory: Memory[str] = Memory("", Gate(), time)
    assert [await memory.get("one", source) for _ in range(3)] == ["a", "a", "a"]
    time.now = 599.0
    assert await memory.get("one", source) == "a"
    time.now = 600.0
    assert await memory.get("one", source) == "b"
    assert source.asked == 2


async def test_failures_count_for_a_while_that_doubles() -> None:
    """From a minute to an hour; a success begins anew."""
    time, source = Time(), Source(*[AWAY] * 9, "a", AWAY)
    memory: Memory[str] = Memory("", Gate(), time)
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600, 3600):
        asked = source.asked
        assert await memory.get("one", source) == ""
        time.now += pause - 1
        assert await memory.get("one", source) == ""
        assert source.asked == asked + 1
        time.now += 1
    assert await memory.get("one", source) == "a"
    time.now += 600
    assert await memory.get("one", source) == ""
    time.now += 60
    assert source.asked == 11


async def test_an_old_answer_counts_while_new_look_ups_fail() -> None:
    """For a bounded time after it was looked up; a new answer takes its place."""
    time, source = Time(), Source("a", AWAY, AWAY, "b", *[AWAY] * 100)
    memory: Memory[str] = Memory("", Gate(), time, stale_seconds=10_000.0)
    await memory.get("one", source)
    for moment in (600, 660):
        time.now = moment
        assert await memory.get("one", source) == "a"
    time.now = 780
    assert await memory.get("one", source) == "b"
    found = []
    for moment in range(1380, 14_000, 60):
        time.now = moment
        found.append(await memory.get("one", source))
    assert found == ["b"] * (found.index("")) + [""] * (len(found) - found.index(""))
    assert 1380 + 60 * found.index("") == 10_800  # the first such moment after 780 + 10,000


async def test_look_ups_of_one_name_at_once_are_one() -> None:
    """It goes on if the one who began it goes away."""
    source = Source("a")
    source.gate = asyncio.Event()
    memory: Memory[str] = Memory("", Gate(), Time())
    first, second = (asyncio.ensure_future(memory.get("one", source)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.gate.set()
    assert await second == "a"
    assert first.cancelled()
    assert source.asked == 1


async def test_look_ups_are_bounded() -> None:
    """Two run, one waits, the fourth is refused; none of these learnt anything."""
    source = Source("a", "a", "a", "a")
    source.gate = asyncio.Event()
    memory: Memory[str] = Memory("", Gate(at_once=2, max_waiting=1), Time())
    tasks = [asyncio.ensure_future(memory.get(name, source)) for name in "abcd"]
    with pytest.raises(TooManyWaiting):
        await tasks[3]
    assert source.asked == 2
    source.gate.set()
    assert await asyncio.gather(*tasks[:3]) == ["a", "a", "a"]
    assert await memory.get("d", source) == "a"


async def test_names_are_bounded() -> None:
    """Those that were used last are remembered."""
    time, source = Time(), Source(*"abcde")
    memory: Memory[str] = Memory("", Gate(), time, max_names=2)
    for name in ("one", "two", "one", "three"):
        await memory.get(name, source)
    assert len(memory) == 2
    assert [memory.known(name) for name in ("one", "two", "three")] == ["a", "", "c"]


async def test_a_suspected_answer_is_looked_up_again() -> None:
    """Unless it is new, or a failure, which has its own time."""
    time, source = Time(), Source("a", "b", AWAY)
    memory: Memory[str] = Memory("", Gate(), time)
    memory.suspect("one")
    await memory.get("one", source)
    time.now = 299.0
    memory.suspect("one")
    assert await memory.get("one", source) == "a"
    time.now = 300.0
    memory.suspect("one")
    assert await memory.get("one", source) == "b"
    await memory.get("two", source)
    time.now = 359.0
    memory.suspect("two")
    assert await memory.get("two", source) == ""
    assert source.asked == 3


async def test_the_end() -> None:
    """Nothing runs afterwards."""
    source = Source()
    source.gate = asyncio.Event()
    memory: Memory[str] = Memory("", Gate(), Time())
    task = asyncio.ensure_future(memory.get("one", source))
    await asyncio.sleep(0)
    await memory.stop()
    with pytest.raises(asyncio.CancelledError):
        await task
