"""Work on many items away from the loop: signatures and hashes of whole rooms.

A thread hop costs as much as a signature, so a few items are done at once where they are. Of many, two pieces are under
way at a time for each caller: whoever checks one event does not wait for somebody's room of a hundred thousand.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
PIECE = 128
WORKERS = 2


class Threads:
    """`close` it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="signatures")

    async def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """What `function`, which is pure, makes of each item, in order."""
        if len(items) <= AT_ONCE:
            return [function(item) for item in items]
        loop = asyncio.get_running_loop()
        pieces = [items[start : start + PIECE] for start in range(0, len(items), PIECE)]
        results: list[R] = []
        for start in range(0, len(pieces), WORKERS):
            under_way = [
                loop.run_in_executor(self._executor, _each, function, piece)
                for piece in pieces[start : start + WORKERS]
            ]
            for made in await asyncio.gather(*under_way):
                results += made
        return results

    def close(self) -> None:
        """Waits for what runs."""
        self._executor.shutdown()


def _each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [function(item) for item in items]
