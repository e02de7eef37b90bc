"""How many strangers may be inside at once, overall and of one address, before they have proven who they are.

Nobody waits: who finds no place is told to come again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from homeserver.domain.errors import LimitExceeded, Unavailable

RETRY_MS = 5_000


class Places:
    """`name` is the limit that an answer 429 names."""

    def __init__(self, name: str, overall: int, each: int) -> None:
        self._name = name
        self._overall = overall
        self._each = each
        self._taken: dict[str, int] = {}
        self._sum = 0

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """One place as long as the block lasts. Raises LimitExceeded or Unavailable."""
        taken = self._taken.get(address, 0)
        if taken >= self._each:
            raise LimitExceeded("Too many requests at once", RETRY_MS, self._name)
        if self._sum >= self._overall:
            raise Unavailable("Too many requests at once, of everybody")
        self._taken[address] = taken + 1
        self._sum += 1
        try:
            yield
        finally:
            self._sum -= 1
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]
