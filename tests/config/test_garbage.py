"""Circles that nobody holds are freed, also those that were set aside; what is held is not looked at.

https://docs.python.org/3/library/gc.html
"""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from config import garbage
from config.garbage import Garbage


class Circle:
    """Holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Garbage]:
    monkeypatch.setattr(garbage, "LEAST", 1_000)
    thresholds = gc.get_threshold()
    yield Garbage()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def test_what_is_set_aside_and_dropped_is_freed_when_enough_came_after(collector: Garbage) -> None:
    """Not at once: only as much more as the limit says makes it look at everything."""
    collector.begin()
    circles = [Circle() for _ in range(10)]
    refs = [weakref.ref(circle) for circle in circles]
    await collector.set_aside()
    del circles
    await collector.look()
    gc.collect()
    assert all(ref() is not None for ref in refs)
    held = [[str(number)] for number in range(int(sys.getallocatedblocks() * garbage.GROWTH))]
    await collector.set_aside()
    await collector.look()
    assert [ref() for ref in refs] == [None] * 10
    assert len(held) > 1_000


async def test_what_lives_is_set_aside(collector: Garbage) -> None:
    """And is freed all the same when nobody holds it."""
    collector.begin()
    before = gc.get_freeze_count()
    held = [[number] for number in range(5_000)]
    await collector.set_aside()
    assert gc.get_freeze_count() - before > 4_900
    del held
    assert gc.get_freeze_count() - before < 1_000
