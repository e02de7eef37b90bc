"""How long a server that does not answer is left alone."""

from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.outage import (
    FIRST_MS,
    MOST_MS,
    SIGN_OF_LIFE_MS,
    Outage,
    after_failure,
    after_sign_of_life,
    wait_until,
)

NOW = 1_700_000_000_000


def failed(outage: Outage | None, now: int, chance: float = 0.0) -> Outage:
    """An attempt that begins and fails at `now`."""
    return after_failure(outage, now, now, chance)


def test_pauses_double_up_to_an_hour() -> None:
    """Each begins when the one before is over."""
    outage, pauses, now = failed(None, NOW), [], NOW
    for _ in range(13):
        pauses.append(outage.retry_ms - now)
        now = outage.retry_ms
        outage = failed(outage, now)
    doubled = [FIRST_MS * 2**count for count in range(10)]
    assert pauses == [*doubled, MOST_MS, MOST_MS, MOST_MS]
    assert outage.since_ms == NOW


@given(st.floats(0, 1))
def test_pauses_have_a_random_part(chance: float) -> None:
    """Up to a half, which does not add up."""
    first = failed(None, NOW, chance)
    assert NOW + FIRST_MS <= first.retry_ms <= NOW + FIRST_MS * 1.5
    assert failed(first, first.retry_ms, chance).pause_ms == 2 * FIRST_MS


def test_attempts_at_once_count_as_one() -> None:
    """Those that began before the pause was over, however late they fail."""
    first = failed(None, NOW)
    assert after_failure(first, NOW - 30_000, NOW + 1, 0.0) is first
    assert after_failure(first, NOW + 1, NOW + 60_000, 0.0) is first
    assert after_failure(first, first.retry_ms, first.retry_ms + 60_000, 0.0).pause_ms == 2 * FIRST_MS


def test_a_sign_of_life_shortens_a_pause() -> None:
    """But no attempt comes sooner than half a minute after the last, however often the server shows itself."""
    long = Outage(NOW - 10**7, NOW, NOW + MOST_MS, MOST_MS)
    assert after_sign_of_life(long, NOW + 1).retry_ms == NOW + SIGN_OF_LIFE_MS
    assert after_sign_of_life(long, NOW + 10**6).retry_ms == NOW + 10**6
    short = failed(None, NOW)
    assert after_sign_of_life(short, NOW + 1) == short
    again = failed(after_sign_of_life(long, NOW + 10**6), NOW + 10**6)
    assert again.pause_ms == MOST_MS


def test_a_clock_that_was_set_back() -> None:
    """A pause that is longer than any can be is over."""
    outage = failed(None, NOW)
    assert wait_until(outage, NOW) == outage.retry_ms
    assert wait_until(outage, NOW - 10**9) == NOW - 10**9
