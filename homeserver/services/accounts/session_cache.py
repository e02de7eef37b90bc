"""Sessions that were looked up, so that most requests need no database to know who asks.

A session that ends is dropped at once by whoever ends it, and by its publication. A look-up that was under way
meanwhile may have read the session just before it ended: it is not remembered.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable

from homeserver.services.accounts.requester import Requester


class SessionCache:
    """By the token's hash, least recently used goes first. Thread-safe."""

    def __init__(self, max_entries: int = 50_000) -> None:
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._requesters: OrderedDict[bytes, Requester] = OrderedDict()
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes whenever sessions end; to be read before a look-up."""
        return self._generation

    def get(self, token_hash: bytes) -> Requester | None:
        with self._lock:
            requester = self._requesters.get(token_hash)
            if requester is not None:
                self._requesters.move_to_end(token_hash)
            return requester

    def put(self, requester: Requester, generation: int) -> None:
        """Remembers what was looked up, unless sessions have ended since `generation` was read."""
        with self._lock:
            if generation == self._generation:
                self._requesters[requester.token_hash] = requester
                if len(self._requesters) > self._max_entries:
                    self._requesters.popitem(last=False)

    def drop(self, token_hashes: Iterable[bytes]) -> None:
        with self._lock:
            self._generation += 1
            for token_hash in token_hashes:
                self._requesters.pop(token_hash, None)

    def __len__(self) -> int:
        return len(self._requesters)
