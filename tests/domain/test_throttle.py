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


# Which key, how long after the one before, how many tokens, and whether they are held first.
MANY = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 400), st.integers(1, 3), st.booleans(), st.booleans()), max_size=120
)


@given(MANY, st.integers(1, 8))
@settings(max_examples=200)
def test_no_flood_of_keys_gives_any_key_more(steps: list[tuple[int, int, int, bool, bool]], size: int) -> None:
    """However small the table is, each key gets at most burst plus rate times time; tokens held count when spent."""
    throttle = Throttle(10, 3)
    table = Throttles(throttle, size)
    passed: dict[int, list[tuple[int, int]]] = {}
    held: list[tuple[int, int]] = []
    now = 1_700_000_000_000
    for key, step, cost, hold, settle in steps:
        now += step
        if hold and table.hold(key, now, cost).allowed:
            held.append((key, cost))
        elif not hold and table.take(key, now, cost).allowed:
            passed.setdefault(key, []).append((now, cost))
        if held and settle:
            key, cost = held.pop(0)
            if step % 2:
                table.release(key, cost)
            else:
                table.spend(key, now, cost)
                passed.setdefault(key, []).append((now, cost))
        assert len(table) <= size
    for times in passed.values():
        for begin, _ in times:
            for end, _ in times:
                inside = sum(cost for at, cost in times if begin <= at <= end)
                assert inside <= 3 + 10 * max(0, end - begin) / 1000 + 1e-6


@given(MANY, st.integers(1, 8))
@settings(max_examples=100)
def test_a_table_tells_exactly_when_to_come_again(steps: list[tuple[int, int, int, bool, bool]], size: int) -> None:
    """Also in a table that overflows: whoever is refused passes after that time, and not a millisecond before."""
    throttle = Throttle(10, 3)
    table = Throttles(throttle, size)
    now = 0
    for key, step, cost, *_ in steps:
        now += step
        taken = table.take(key, now, cost)
        if not taken.allowed:
            assert table.wait_ms(key, now, cost) == taken.retry_after_ms
            assert table.wait_ms(key, now + taken.retry_after_ms - 1, cost)
            assert not table.wait_ms(key, now + taken.retry_after_ms, cost)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 400)), max_size=120), st.integers(1, 8))
@settings(max_examples=150)
def test_the_emptiest_buckets_stay(steps: list[tuple[int, int]], size: int) -> None:
    """What goes is full, or at least as full as all that stays; nothing goes while there is room."""
    throttle = Throttle(10, 3)
    table = Throttles(throttle, size)
    now = 0
    for key, step in steps:
        now += step
        waits = {known: table.wait_ms(known, now, 3) for known in range(13) if known in table}
        table.take(key, now)
        dropped = [wait for known, wait in waits.items() if known not in table]
        kept = [wait for known, wait in waits.items() if known in table and known != key]
        assert not dropped or len(waits) == size
        assert all(wait <= other for wait in dropped if wait for other in kept)


def test_a_flood_does_not_free_whoever_is_stopped() -> None:
    """Somebody who has used up a bucket waits as long, whatever crowd comes by; the crowd is let in all the same."""
    throttle = Throttle(0.1, 5)
    table = Throttles(throttle, 100)
    for _ in range(5):
        assert table.take("guesser", 0).allowed
    wait = table.take("guesser", 0).retry_after_ms
    for number in range(300):
        assert table.take(f"flood {number}", 0).allowed
    assert table.take("guesser", 0).retry_after_ms == wait
    assert table.take("newcomer", 0).allowed
    assert len(table) <= 100


def test_a_flood_that_pays_for_every_key_frees_nobody_either() -> None:
    """If all who are remembered have used up theirs, whoever is forgotten counts as having done so."""
    table = Throttles(Throttle(1, 2), 10)
    for number in range(10):
        assert table.take(number, 0, 2).allowed
    assert table.take("one more", 0).allowed
    assert not any(table.take(number, 0).allowed for number in range(10))
    assert table.take("newcomer", 0).retry_after_ms == 1000
    assert all(table.take(number, 2000, 2).allowed for number in range(10, 18))


def test_a_clock_set_back_after_a_flood_locks_no_newcomer_out() -> None:
    """What strangers count as is believed no longer than a bucket takes to fill."""
    table = Throttles(Throttle(1, 2), 1)
    table.take("a", 86_400_000, 2)
    table.take("b", 86_400_000, 2)
    assert table.wait_ms("newcomer", 0) <= 1000
    assert table.wait_ms("newcomer", 2000) == 0


def test_held_tokens_are_nobody_elses() -> None:
    """They are gone while they are held, back at once when they are released, and taken when they are spent."""
    table = Throttles(Throttle(1, 2), 10)
    assert table.hold("room", 0).allowed
    assert table.hold("room", 0).allowed
    assert not table.hold("room", 0).allowed
    assert table.take("room", 0).retry_after_ms == 1000
    table.release("room")
    assert table.take("room", 0).allowed
    table.spend("room", 0)
    assert table.wait_ms("room", 0) == 1000
    assert table.wait_ms("room", 0, 2) == 2000


def test_keys_are_kept_apart() -> None:
    """One user's requests do not slow another."""
    table = Throttles(Throttle(1, 1), 10)
    assert table.take("alice", 0).allowed
    assert not table.take("alice", 0).allowed
    assert table.take("bob", 0).allowed
    assert table.wait_ms("alice", 0) == 1000


def test_asking_takes_no_room() -> None:
    """Asking how long to wait stores nothing, nor does a hold that is given back."""
    table = Throttles(Throttle(1, 1), 10)
    table.wait_ms("carol", 0)
    table.hold("carol", 0)
    table.release("carol")
    assert len(table) == 0


def test_a_table_needs_room() -> None:
    """A table of no entries could remember nothing."""
    with pytest.raises(ValueError, match="room for one"):
        Throttles(Throttle(1, 1), 0)
