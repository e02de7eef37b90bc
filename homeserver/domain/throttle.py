"""Rate limiting as arithmetic: a token bucket without a clock, and a bounded table of many of them, of one kind.

The algorithm is GCRA: instead of counting tokens, a bucket remembers one instant, when it will be full again. All
instants are whole nanoseconds, so that no rounding ever lets one request too many through. Which limits there are is
no business of this module (`clients.limits`).
https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

import heapq
import math
from collections.abc import Hashable
from typing import NamedTuple, overload

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

    def take(self, state: State, now_ms: int, cost: int = 1, held: int = 0) -> Taken:
        """Take `cost` tokens, at least 1 and at most `burst`, or none if they are not all there beside those `held`."""
        if not 1 <= cost <= self.burst:
            raise ValueError(f"a cost of {cost} never fits a burst of {self.burst}")
        wait = self.wait_ms(state, now_ms, cost + held)
        if wait:
            return Taken(self.believable(state, now_ms), False, wait)
        return Taken(self.after(state, now_ms, cost), True, 0)

    def after(self, state: State, now_ms: int, cost: int) -> int:
        """The bucket without `cost` tokens that are known to be there."""
        return self._full_at(state, now_ms * _NS_PER_MS) + cost * self._interval

    @overload
    def believable(self, state: int, now_ms: int) -> int: ...
    @overload
    def believable(self, state: None, now_ms: int) -> None: ...
    @overload
    def believable(self, state: State, now_ms: int) -> State: ...
    def believable(self, state: State, now_ms: int) -> State:
        """The bucket as it may be at this time: to be kept instead of `state`.

        An empty bucket is full after `capacity`. A later instant means that the clock was set back: nobody shall be
        locked out for as long as the clock jumped.
        """
        return None if state is None else min(state, now_ms * _NS_PER_MS + self._capacity)

    def _full_at(self, state: State, now: int) -> int:
        return now if state is None else min(max(state, now), now + self._capacity)


class Throttles:
    """The buckets of many keys, at most `max_entries`, all of one throttle.

    Only buckets that are not full are worth keeping. When the table overflows, the full ones go first, which changes
    nothing for anybody, and only if this frees less than a tenth, those that are fullest. From then on, a key that is
    not in the table counts as no fuller than the emptiest bucket that had to go (`_floor`). So nobody who floods the
    table with keys gives any of them more than its throttle allows; and newcomers lose by it only what each of those
    who stayed has taken, and only until that is refilled.

    Tokens can also be held until it is known whether they are to be spent: nobody else gets them meanwhile.
    """

    def __init__(self, throttle: Throttle, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError("a table of throttles needs room for one entry")
        self.throttle = throttle
        self._max_entries = max_entries
        self._states: dict[Hashable, int] = {}
        # As many as there are requests under way.
        self._held: dict[Hashable, int] = {}
        self._floor: State = None

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._states

    def wait_ms(self, key: Hashable, now_ms: int, cost: int = 1) -> int:
        """How long `key` has to wait; takes nothing."""
        return self.throttle.wait_ms(self._state(key, now_ms), now_ms, cost + self._held.get(key, 0))

    def take(self, key: Hashable, now_ms: int, cost: int = 1) -> Taken:
        """Take from the bucket of `key`."""
        taken = self.throttle.take(self._state(key, now_ms), now_ms, cost, self._held.get(key, 0))
        if taken.allowed and taken.state is not None:
            self._keep(key, taken.state, now_ms)
        return taken

    def hold(self, key: Hashable, now_ms: int, cost: int = 1) -> Taken:
        """As `take`, but the tokens are only set aside. If they are, `spend` or `release` them, once."""
        taken = self.throttle.take(self._state(key, now_ms), now_ms, cost, self._held.get(key, 0))
        if taken.allowed:
            self._held[key] = self._held.get(key, 0) + cost
        return taken

    def release(self, key: Hashable, cost: int = 1) -> None:
        """Give back what was held."""
        left = self._held[key] - cost
        if left:
            self._held[key] = left
        else:
            del self._held[key]

    def spend(self, key: Hashable, now_ms: int, cost: int = 1) -> None:
        """Take what was held."""
        self.release(key, cost)
        self._keep(key, self.throttle.after(self._state(key, now_ms), now_ms, cost), now_ms)

    def _state(self, key: Hashable, now_ms: int) -> State:
        """The bucket as it is to be believed; what is not believable is forgotten."""
        state = self._states.get(key)
        if state is None:
            self._floor = self.throttle.believable(self._floor, now_ms)
            return self._floor
        state = self._states[key] = self.throttle.believable(state, now_ms)
        return state

    def _keep(self, key: Hashable, state: int, now_ms: int) -> None:
        if key not in self._states and len(self._states) >= self._max_entries:
            self._evict(now_ms)
        self._states[key] = state

    def _evict(self, now_ms: int) -> None:
        now = now_ms * _NS_PER_MS
        self._states = {key: state for key, state in self._states.items() if state > now}
        # A tenth at once, so that the sweep is rare even if no bucket is ever full.
        surplus = len(self._states) - (self._max_entries * 9 // 10)
        if surplus > 0:
            for key in heapq.nsmallest(surplus, self._states, key=self._states.__getitem__):
                self._floor = max(self._floor or 0, self._states.pop(key))
