"""The one counter and its watermark.

Every change that a client or a follower can see has a position. Positions are handed out from a block that was
reserved durably (storage: a row of the database and a file of the data directory), so that after a crash no number is
given twice: each start begins a new block. Writers take theirs at different times and commit in another order;
`current()` is the highest position with nothing unfinished below it, and nothing above it is ever shown.

Single process. Several processes need another implementation of this Protocol (architecture.md, section 6), which is
why `current` and `take` keep this shape.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from homeserver.domain.errors import BrokenInvariant


class PositionBlocks(Protocol):
    """Reserves numbers durably, above every number ever reserved. Called from any thread."""

    def reserve(self) -> tuple[int, int]:
        """The first and the last number of a new block."""


class Positions:
    """Thread-safe. A position that was taken must be finished, whatever became of its write."""

    def __init__(self, blocks: PositionBlocks, ask_for_more: Callable[[], None] | None = None) -> None:
        self._blocks = blocks
        self._ask_for_more = ask_for_more
        self._lock = threading.Lock()
        first, last = blocks.reserve()
        self._next = first
        self._last = last
        self._low = (last - first) // 2
        self._spare: tuple[int, int] | None = None
        self._asked = False
        self._unfinished: set[int] = set()

    def take(self) -> int:
        """The next position, unfinished until `finish`."""
        with self._lock:
            if self._next > self._last:
                if self._spare is None:
                    self._spare = self._blocks.reserve()
                self._next, self._last = self._spare
                self._spare = None
                self._asked = False
            position = self._next
            self._next += 1
            self._unfinished.add(position)
            ask = not self._asked and self._last - self._next < self._low
            if ask:
                self._asked = True
        if ask and self._ask_for_more is not None:
            self._ask_for_more()
        return position

    def provide_spare(self) -> None:
        """Reserves the next block ahead of need. Blocking: call it from a thread that may wait for the disk."""
        block = self._blocks.reserve()
        with self._lock:
            # If `take` ran out meanwhile, it has a later block already: numbers never go back.
            if self._spare is None and block[0] > self._last:
                self._spare = block

    def finish(self, position: int) -> None:
        """Its write is committed or gone for good."""
        with self._lock:
            if position not in self._unfinished:
                raise BrokenInvariant(f"position {position} is not unfinished")
            self._unfinished.discard(position)

    def current(self) -> int:
        """The watermark."""
        with self._lock:
            return min(self._unfinished) - 1 if self._unfinished else self._next - 1

    def unfinished(self) -> int:
        """How many positions are taken and not finished."""
        with self._lock:
            return len(self._unfinished)

    def lag(self) -> int:
        """By how many positions the watermark is behind the newest one."""
        with self._lock:
            return self._next - min(self._unfinished) if self._unfinished else 0
