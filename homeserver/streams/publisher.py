"""Brings committed publications out in the order of their positions, never above the watermark.

`committed` is called on the loop after each write, whether it succeeded or not; what it holds back goes out with the
write that was in its way.
"""

import heapq
from collections.abc import Callable, Sequence

from homeserver.streams.notifier import Notifier
from homeserver.streams.positions import Positions
from homeserver.streams.publications import Publication
from homeserver.streams.tail import Tail


class Publisher:
    """Not thread-safe: lives on the loop."""

    def __init__(self, positions: Positions, tail: Tail, notifier: Notifier) -> None:
        self._positions = positions
        self._tail = tail
        self._notifier = notifier
        self._held: list[tuple[int, int, Publication]] = []
        self._order = 0
        self._listeners: list[Callable[[Publication], None]] = []

    def listen(self, listener: Callable[[Publication], None]) -> None:
        """`listener` is called with every publication, in order, before anybody is woken. It must be quick."""
        self._listeners.append(listener)

    def committed(self, positions: Sequence[int], publications: Sequence[Publication]) -> None:
        """A write ended: its positions are finished, and `publications` (none if it failed) may go out."""
        for publication in publications:
            self._order += 1
            heapq.heappush(self._held, (publication.position, self._order, publication))
        for position in positions:
            self._positions.finish(position)
        self._release()

    def _release(self) -> None:
        watermark = self._positions.current()
        held = self._held
        while held and held[0][0] <= watermark:
            publication = heapq.heappop(held)[2]
            self._tail.append(publication)
            for listener in self._listeners:
                listener(publication)
            self._notifier.touch(publication.keys)

    @property
    def held(self) -> int:
        """How many committed publications wait for the watermark."""
        return len(self._held)

    def current(self) -> int:
        """The watermark up to which everything has been published."""
        if self._held:
            return min(self._positions.current(), self._held[0][0] - 1)
        return self._positions.current()
