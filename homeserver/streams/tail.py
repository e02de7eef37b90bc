"""The recent publications, in memory, by key, each event once.

What is older than the tail must be read from the tables: `since` says so by raising `Truncated`. Bounded by a number
of publications and by bytes. At a start it is filled with what the tables still tell of the time before.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Set
from itertools import islice

from homeserver.domain.errors import BrokenInvariant
from homeserver.streams.publications import AccountDataItem, EventItem, Publication


class Truncated(Exception):
    """The tail no longer reaches back to the position that was asked for."""


def weight(publication: Publication) -> int:
    """Bytes of memory that a publication holds, roughly."""
    item = publication.item
    if isinstance(item, EventItem):
        return 900 + len(item.client) + len(item.unsigned)
    if isinstance(item, AccountDataItem):
        return 500 + len(item.content or "")
    return 500


class Tail:
    """Not thread-safe: lives on the loop. Starts at `floor`: everything at or below it is not here.

    `start`: where this process began. `lost_before`: of the time before, nothing is known of what only memory holds:
    who types.
    """

    def __init__(self, floor: int, max_bytes: int = 32 << 20, max_entries: int = 50_000) -> None:
        self.start = self.lost_before = floor
        self._floor = floor
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._bytes = 0
        self._all: deque[Publication] = deque()
        self._by_key: dict[str, deque[Publication]] = {}
        # Events that lie here and were redacted since.
        self._redacted: dict[str, int] = {}

    def is_redacted(self, event_id: str) -> bool:
        """True if a redaction that lies here took the content of this event: what the tail holds of it is old."""
        return event_id in self._redacted

    @property
    def floor(self) -> int:
        return self._floor

    @property
    def size(self) -> tuple[int, int]:
        """Entries and bytes."""
        return len(self._all), self._bytes

    def fill(self, floor: int, publications: Iterable[Publication], lost_before: int) -> None:
        """Everything that was published after `floor` before this process began, in order, before anything else."""
        if self._all or self._floor != self.start:
            raise BrokenInvariant("the tail has begun already")
        self._floor, self.lost_before = floor, lost_before
        for publication in publications:
            self.append(publication)

    def append(self, publication: Publication) -> None:
        """Publications come in the order of their positions."""
        self._all.append(publication)
        self._bytes += weight(publication)
        item = publication.item
        if isinstance(item, EventItem) and item.redacted is not None:
            self._redacted[item.redacted[0]] = publication.position
        for key in publication.keys:
            by_key = self._by_key.get(key)
            if by_key is None:
                by_key = self._by_key[key] = deque()
            by_key.append(publication)
        while self._bytes > self._max_bytes or len(self._all) > self._max_entries:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Forgets one publication; syncs that still need it go to the tables."""
        oldest = self._all.popleft()
        self._bytes -= weight(oldest)
        self._floor = oldest.position
        item = oldest.item
        if isinstance(item, EventItem) and item.redacted is not None:
            self._redacted.pop(item.redacted[0], None)
        for key in oldest.keys:
            by_key = self._by_key[key]
            by_key.popleft()
            if not by_key:
                del self._by_key[key]

    def forget_all(self) -> None:
        """Forgets everything that is here."""
        while self._all:
            self.drop_oldest()

    def since(self, key: str, after: int, upto: int) -> list[Publication]:
        """The publications of `key` with after < position <= upto, oldest first."""
        if after < self._floor:
            raise Truncated
        found: list[Publication] = []
        for publication in reversed(self._by_key.get(key, ())):
            if publication.position <= after:
                break
            if publication.position <= upto:
                found.append(publication)
        found.reverse()
        return found

    def is_touched(self, key: str, after: int) -> bool:
        """True if anything was published under `key` after a position."""
        if after < self._floor:
            raise Truncated
        by_key = self._by_key.get(key)
        return by_key is not None and by_key[-1].position > after

    def is_any_touched(self, keys: Set[str], after: int) -> bool:
        """As `is_touched` of each of many keys, mostly without looking at them: little was published since."""
        if after < self._floor:
            raise Truncated
        for publication in islice(reversed(self._all), len(keys)):
            if publication.position <= after:
                return False
            if not keys.isdisjoint(publication.keys):
                return True
        return any(self.is_touched(key, after) for key in keys)

    def __iter__(self) -> Iterator[Publication]:
        return iter(self._all)
