"""Rate limiting as arithmetic: a token bucket without a clock, and a bounded table of many of them.

The algorithm is GCRA: instead of counting tokens, a bucket remembers one instant, when it will be full again. All
instants are whole nanoseconds, so that no rounding ever lets one request too many through. Which limits there are is
no business of this module (`clients.limits`).
https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

import heapq
import math
from collections.abc import Hashable
from typing import NamedTuple

_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000

# When the bucket will be full again, in nanoseconds; None for a bucket that was never used.
State = int | None


class Taken(NamedTuple):
    """What came of a request: the bucket afterwards, whether it may pass, and if not, when to come again."""

    state: State
    allowed: bool
    retry_after_ms: int


class Throttle:
    """A bucket of `burst` tokens that is refilled with `per_second` of them."""

    __slots__ = ("_capacity", "_interval", "burst", "per_second")

    def __init__(self, per_second: float, burst: int) -> None:
        if not (math.isfinite(per_second) and per_second > 0 and burst >= 1):
            raise ValueError(f"a throttle needs a rate above 0 and a burst of at least 1, not {per_second}, {burst}")
        self.per_second = per_second
        self.burst = burst
        # Rounded up: rather a nanosecond too slow than a request too many.
        self._interval = math.ceil(_NS_PER_SECOND / per_second)
        self._capacity = self._interval * burst

    def wait_ms(self, state: State, now_ms: int, cost: int = 1) -> int:
        """How long until `cost` tokens are there; 0 if they are there now."""
        now = now_ms * _NS_PER_MS
        missing = self._full_at(state, now) + cost * self._interval - now - self._capacity
        return max(0, -(-missing // _NS_PER_MS))

    def take(self, state: State, now_ms: int, cost: int = 1) -> Taken:
        """Take `cost` tokens, at least 1 and at most `burst`, or none if they are not all there."""
        if not 1 <= cost <= self.burst:
            raise ValueError(f"a cost of {cost} never fits a burst of {self.burst}")
        wait = self.wait_ms(state, now_ms, cost)
        if wait:
            return Taken(self.believable(state, now_ms), False, wait)
        return Taken(self._full_at(state, now_ms * _NS_PER_MS) + cost * self._interval, True, 0)

    def believable(self, state: State, now_ms: int) -> State:
        """The bucket as it may be at this time: to be kept instead of `state`.

        An empty bucket is full after `capacity`. A later instant means that the clock was set back: nobody shall be
        locked out for as long as the clock jumped.
        """
        return None if state is None else min(state, now_ms * _NS_PER_MS + self._capacity)

    def _full_at(self, state: State, now: int) -> int:
        return now if state is None else min(max(state, now), now + self._capacity)


class Throttles:
    """The buckets of many keys, at most `max_entries`.

    Only buckets that are not full are worth keeping. When the table overflows, the full ones go first, which changes
    nothing for anybody, and only if this frees less than a tenth, those that are fullest.
    """

    def __init__(self, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError("a table of throttles needs room for one entry")
        self._max_entries = max_entries
        self._states: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._states

    def wait_ms(self, key: Hashable, throttle: Throttle, now_ms: int, cost: int = 1) -> int:
        """How long `key` has to wait; takes nothing."""
        state = throttle.believable(self._states.get(key), now_ms)
        if state is not None:
            self._states[key] = state
        return throttle.wait_ms(state, now_ms, cost)

    def take(self, key: Hashable, throttle: Throttle, now_ms: int, cost: int = 1) -> Taken:
        """Take from the bucket of `key`; a key is always used with the same throttle."""
        taken = throttle.take(self._states.get(key), now_ms, cost)
        if taken.state is not None:
            if key not in self._states and len(self._states) >= self._max_entries:
                self._evict(now_ms)
            self._states[key] = taken.state
        return taken

    def forget(self, key: Hashable) -> None:
        """Give `key` a full bucket."""
        self._states.pop(key, None)

    def _evict(self, now_ms: int) -> None:
        now = now_ms * _NS_PER_MS
        self._states = {key: state for key, state in self._states.items() if state > now}
        # A tenth at once, so that the sweep is rare even if no bucket is ever full.
        surplus = len(self._states) - (self._max_entries * 9 // 10)
        if surplus > 0:
            for key in heapq.nsmallest(surplus, self._states, key=self._states.__getitem__):
                del self._states[key]
