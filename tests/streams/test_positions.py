"""The one counter and its watermark."""

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import BrokenInvariant
from homeserver.streams.positions import Positions


class SmallBlocks:
    """Blocks of ten numbers, each above the ones before, as a table reserves them."""

    def __init__(self) -> None:
        self.last = 100
        self.reserved = 0

    def reserve(self) -> tuple[int, int]:
        self.reserved += 1
        self.last += 10
        return self.last - 9, self.last


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["take", "take", "finish oldest", "finish newest", "spare"]), max_size=60))
def test_watermark_is_below_everything_unfinished(steps: list[str]) -> None:
    """Whatever is taken and finished in whatever order: nothing unfinished lies at or below `current`, which rises."""
    positions = Positions(SmallBlocks())
    taken: list[int] = []
    unfinished: list[int] = []
    watermarks = [positions.current()]
    for step in steps:
        if step == "take":
            position = positions.take()
            assert position > max(taken, default=watermarks[0])
            taken.append(position)
            unfinished.append(position)
        elif step == "spare":
            positions.provide_spare()
        elif unfinished:
            positions.finish(unfinished.pop(0 if step == "finish oldest" else -1))
        current = positions.current()
        watermarks.append(current)
        assert all(current < position for position in unfinished)
        assert all(position <= current for position in taken if position < min(unfinished, default=10**9))
        assert positions.unfinished() == len(unfinished)
        assert (positions.lag() > 0) == bool(unfinished)
    assert watermarks == sorted(watermarks)


def test_watermark_stands_before_the_first_position() -> None:
    """A new life begins with everything up to its first block finished."""
    positions = Positions(SmallBlocks())

    assert positions.current() == 100
    assert positions.take() == 101
    assert positions.current() == 100
    assert positions.lag() == 1


def test_position_is_finished_once() -> None:
    """Finishing what is not unfinished is a mistake of ours, and is said aloud."""
    positions = Positions(SmallBlocks())
    position = positions.take()
    positions.finish(position)
    for wrong in (position, position + 1):
        with pytest.raises(BrokenInvariant):
            positions.finish(wrong)


def test_next_block_is_asked_for_ahead() -> None:
    """Half way through a block the next one is asked for, once, and used when it is time."""
    blocks, asked = SmallBlocks(), []
    positions = Positions(blocks, lambda: asked.append(1))
    taken = [positions.take() for _ in range(6)]
    assert asked == [1]
    positions.provide_spare()
    taken += [positions.take() for _ in range(9)]

    assert blocks.reserved == 2
    assert taken == list(range(101, 116))
    assert positions.take() == 116
    assert asked == [1, 1]


class SlowBlocks(SmallBlocks):
    """Something happens between a reservation and its answer, once."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    def reserve(self) -> tuple[int, int]:
        block = super().reserve()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return block


def test_block_that_comes_too_late_is_not_used() -> None:
    """A spare that was reserved before the block in use would lead backwards."""
    blocks = SlowBlocks()
    positions = Positions(blocks)
    taken: list[int] = []
    blocks.meanwhile = lambda: taken.extend(positions.take() for _ in range(15))
    positions.provide_spare()
    taken += [positions.take() for _ in range(30)]

    assert all(before < after for before, after in pairwise(taken))


def test_many_threads() -> None:
    """Positions taken by eight threads are all different, and all finish."""
    positions = Positions(SmallBlocks())
    taken: list[int] = []

    def work() -> None:
        mine = []
        for _ in range(300):
            position = positions.take()
            assert positions.current() < position
            mine.append(position)
            positions.finish(position)
        taken.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(taken)) == len(taken) == 2400
    assert positions.current() == max(taken)
    assert positions.unfinished() == positions.lag() == 0
