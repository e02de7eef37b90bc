"""What storage keeps in memory: only immutable things, bounded in bytes.

Shared by the threads of one process. An entry may be added by a transaction that is rolled back later: its internal
number is never given out again, so nothing can be wrong about it.

The one exception: a redaction changes what an event is. Its entry is dropped for good, since a reader whose snapshot is
older may hold the content still, and would put it back.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# So many dropped keys are remembered: more than are dropped while a snapshot lives.
MAX_DROPPED = 10_000


class ByteCache(Generic[K, V]):
    """Least recently used goes first. Thread-safe. `weigh` gives the bytes of a value."""

    def __init__(self, max_bytes: int, weigh: Callable[[V], int]) -> None:
        self._max_bytes = max_bytes
        self._weigh = weigh
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._dropped: OrderedDict[K, None] = OrderedDict()
        self.bytes = 0

    def get(self, key: K) -> V | None:
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        with self._lock:
            if key in self._dropped:
                return
            old = self._entries.pop(key, None)
            if old is not None:
                self.bytes -= self._weigh(old)
            self._entries[key] = value
            self.bytes += self._weigh(value)
            while self.bytes > self._max_bytes and self._entries:
                self.bytes -= self._weigh(self._entries.popitem(last=False)[1])

    def drop(self, key: K) -> None:
        """Forgets an entry, and what others may still try to put there."""
        with self._lock:
            self._dropped[key] = None
            if len(self._dropped) > MAX_DROPPED:
                self._dropped.popitem(last=False)
            old = self._entries.pop(key, None)
            if old is not None:
                self.bytes -= self._weigh(old)

    def __len__(self) -> int:
        return len(self._entries)
