"""Token buckets: the promise is `burst + rate * time`, for any sequence of requests."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.throttle import State, Throttle, Throttles

RATES = st.floats(min_value=0.001, max_value=5000, allow_nan=False)
BURSTS = st.integers(1, 50)
STEPS = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 5)), max_size=80)


@given(RATES, BURSTS, STEPS)
@settings(max_examples=200)
def test_never_more_than_burst_plus_rate_times_time(rate: float, burst: int, steps: list[tuple[int, int]]) -> None:
    """However requests are spread, no window lets more through than its start's burst and what was refilled since."""
    throttle = Throttle(rate, burst)
    state: State = None
    now = start = 1_700_000_000_000
    passed: list[tuple[int, int]] = []
    for step, cost in steps:
        now += step
        cost = min(cost, burst)
        state, allowed, _ = throttle.take(state, now, cost)
        if allowed:
            passed.append((now, cost))
    for begin in [start, *(at for at, _ in passed)]:
        for end in (at for at, _ in passed):
            inside = sum(cost for at, cost in passed if begin <= at <= end)
            assert inside <= burst + rate * max(0, end - begin) / 1000 + 1e-6


@given(RATES, BURSTS, STEPS)
@settings(max_examples=100)
def test_retry_after_is_kept_and_exact(rate: float, burst: int, steps: list[tuple[int, int]]) -> None:
    """Whoever is refused passes after the time they were told, and not a millisecond before."""
    throttle = Throttle(rate, burst)
    state: State = None
    now = 0
    for step, cost in steps:
        now += step
        cost = min(cost, burst)
        taken = throttle.take(state, now, cost)
        if not taken.allowed:
            assert taken.state == state
            assert throttle.take(state, now + taken.retry_after_ms, cost).allowed
            assert not throttle.take(state, now + taken.retry_after_ms - 1, cost).allowed
        state = taken.state


def test_burst_then_rate() -> None:
    """Three at once, then one every half second."""
    throttle = Throttle(2, 3)
    state: State = None
    for _ in range(3):
        state, allowed, _ = throttle.take(state, 1000)
        assert allowed
    state, allowed, retry = throttle.take(state, 1000)
    assert (allowed, retry) == (False, 500)
    assert throttle.take(state, 1500).allowed


def test_clock_set_back_locks_nobody_out() -> None:
    """A clock that jumps back a day makes a user wait for one full bucket at most."""
    throttle = Throttle(1, 5)
    state = throttle.take(None, 86_400_000).state
    assert throttle.wait_ms(state, 0) <= 5000


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 0)])
def test_senseless_throttles_are_refused(rate: float, burst: int) -> None:
    """A rate or a burst of nothing is a mistake of the operator, said at once."""
    with pytest.raises(ValueError, match="throttle needs"):
        Throttle(rate, burst)


@pytest.mark.parametrize("cost", [0, -1, 4])
def test_a_cost_that_never_fits_is_a_mistake(cost: int) -> None:
    """A request that no bucket can ever pay for is refused as a programming error."""
    with pytest.raises(ValueError, match="never fits"):
        Throttle(1, 3).take(None, 0, cost)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 400)), max_size=120), st.integers(1, 8))
@settings(max_examples=150)
def test_table_is_bounded_and_keeps_the_busy_over_the_idle(steps: list[tuple[int, int]], size: int) -> None:
    """The table never grows beyond its size, and no bucket in use is forgotten while an idle one is kept."""
    throttle = Throttle(10, 3)
    table = Throttles(size)
    alone: dict[int, State] = {}
    now = 0
    for key, step in steps:
        now += step
        before = {known for known in alone if known in table}
        table.take(key, throttle, now)
        alone[key] = throttle.take(alone.get(key) if key in before else None, now).state
        assert len(table) <= size
        dropped = {known for known in before if known not in table}
        busy = {known for known in dropped if (alone[known] or 0) > now * 1_000_000}
        if busy:
            idle = {known for known in before - dropped - {key} if (alone[known] or 0) <= now * 1_000_000}
            assert not idle


def test_table_keeps_keys_apart_and_forgets_on_demand() -> None:
    """One user's requests do not slow another; a forgotten key starts afresh."""
    throttle, table = Throttle(1, 1), Throttles(10)
    assert table.take("alice", throttle, 0).allowed
    assert not table.take("alice", throttle, 0).allowed
    assert table.take("bob", throttle, 0).allowed
    assert table.wait_ms("alice", throttle, 0) == 1000
    table.forget("alice")
    assert table.wait_ms("alice", throttle, 0) == 0
    assert "alice" not in table


def test_refused_strangers_take_no_room() -> None:
    """Asking how long to wait stores nothing."""
    table = Throttles(10)
    table.wait_ms("carol", Throttle(1, 1), 0)
    assert len(table) == 0


def test_a_table_needs_room() -> None:
    """A table of no entries could remember nothing."""
    with pytest.raises(ValueError, match="room for one"):
        Throttles(0)
