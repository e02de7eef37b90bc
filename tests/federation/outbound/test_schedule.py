"""Who is at work, and how many at once."""

import asyncio
from collections import Counter

from federation.outbound.schedule import Schedule
from tests.builders.waiting import until


class Work:
    """Work that lasts until the test lets it go; `seconds` is what it answers."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.done: Counter[str] = Counter()
        self.behind: set[str] = set()
        self.go = asyncio.Event()
        self.seconds: dict[str, float] = {}
        self.schedule = Schedule(self.run, lambda name: name in self.behind, at_once=3, behind_at_once=2)

    async def run(self, name: str) -> float | None:
        self.running.add(name)
        try:
            await self.go.wait()
            if name == "broken":
                raise ValueError(name)
            return self.seconds.pop(name, None)
        finally:
            self.running.discard(name)
            self.done[name] += 1


async def test_a_bounded_number_at_once() -> None:
    """Those that lie behind take no place of the others; everybody has a turn."""
    work = Work()
    work.behind = {f"b{number}" for number in range(5)}
    names = [*work.behind, *(f"a{number}" for number in range(5))]
    for name in names:
        work.schedule.wake(name)
    await until(lambda: len(work.running) == 5)
    assert len(work.running & work.behind) == 2
    work.go.set()
    await until(lambda: all(work.done[name] for name in names))
    assert set(work.done.values()) == {1} and all(work.schedule.is_quiet(name) for name in names)


async def test_who_is_woken_at_work_works_again() -> None:
    """However often: once. Nobody works twice at a time."""
    work = Work()
    work.schedule.wake("a")
    await until(lambda: work.running)
    work.schedule.wake("a")
    work.schedule.wake("a")
    assert not work.schedule.is_quiet("a")
    work.go.set()
    await until(lambda: work.done["a"] == 2 and work.schedule.is_quiet("a"))


async def test_who_waits_comes_again() -> None:
    """By itself, or as soon as it is woken."""
    work = Work()
    work.go.set()
    work.seconds = {"soon": 0.01, "late": 3600.0}
    work.schedule.wake("soon")
    work.schedule.wake("late")
    await until(lambda: work.done["soon"] == 2 and work.done["late"] == 1)
    assert not work.schedule.is_quiet("late")
    work.schedule.wake("late")
    await until(lambda: work.done["late"] == 2 and work.schedule.is_quiet("late"))


async def test_what_fails_holds_up_nobody() -> None:
    """It comes again later; a stop ends everything."""
    work = Work()
    work.go.set()
    work.schedule.wake("broken")
    work.schedule.wake("a")
    await until(lambda: work.done["broken"] and work.done["a"])
    await until(lambda: not work.running)
    assert not work.schedule.is_quiet("broken")
    work.go.clear()
    work.schedule.wake("b")
    await until(lambda: work.running)
    await work.schedule.stop()
    work.schedule.wake("c")
    assert not work.running and not work.done["c"]
