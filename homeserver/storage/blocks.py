"""Durable blocks of numbers: positions of the one counter, and internal numbers of events, rooms and groups.

A block is reserved by a committed row and, for positions, by a file of the data directory that is synced to the disk:
if the database is ever older than the file (restored from a backup), the file tells.
"""

import threading
from typing import Literal, Protocol

from sqlalchemy import Engine, text

BLOCK = 10_000


class HighWater(Protocol):
    """The data directory's memory of the highest position ever reserved."""

    def reserve(self, up_to: int) -> None:
        """Returns when the disk holds it."""


class Blocks:
    """Reserves blocks of one of the counters in the table `server`. Blocking; thread-safe."""

    def __init__(
        self,
        engine: Engine,
        counter: Literal["positions_reserved", "numbers_reserved"],
        high_water: HighWater | None = None,
    ) -> None:
        self._engine = engine
        self._update = text(f"UPDATE server SET {counter} = {counter} + {BLOCK} WHERE id = 1 RETURNING {counter}")
        self._high_water = high_water

    def reserve(self) -> tuple[int, int]:
        with self._engine.begin() as connection:
            last: int = connection.execute(self._update).scalar_one()
        if self._high_water is not None:
            self._high_water.reserve(last)
        return last - BLOCK + 1, last


def raise_positions(engine: Engine, at_least: int) -> int:
    """Makes sure that positions are reserved from `at_least` on; returns what was reserved before."""
    with engine.begin() as connection:
        reserved: int = connection.execute(text("SELECT positions_reserved FROM server WHERE id = 1")).scalar_one()
        connection.execute(
            text("UPDATE server SET positions_reserved = greatest(positions_reserved, :least) WHERE id = 1"),
            {"least": at_least},
        )
    return reserved


class Numbers:
    """Internal numbers, unique for ever; gaps mean nothing. Thread-safe."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._lock = threading.Lock()
        self._next, self._last = blocks.reserve()

    def take(self) -> int:
        with self._lock:
            if self._next > self._last:
                self._next, self._last = self._blocks.reserve()
            number = self._next
            self._next += 1
            return number
