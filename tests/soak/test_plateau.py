"""When a series counts as flat."""

import pytest

from tests.soak.plateau import Point, rests, slope_per_hour


def series(*values: float) -> list[Point]:
    return [(60.0 * minute, value) for minute, value in enumerate(values)]


def test_what_grew_and_stopped_rests() -> None:
    """A warm-up is allowed, a wave too."""
    assert rests(series(10, 50, 90, 100, 100, 101, 100, 100), slack=1)
    assert rests(series(0, 500, 0, 500, 0, 500, 0, 500), slack=0)


def test_what_grows_on_does_not() -> None:
    """However slowly, if it is more than the slack."""
    assert not rests(series(*range(100, 180, 10)), slack=1)
    assert not rests(series(1, 2), slack=100)


@pytest.mark.parametrize("pace", [0.0, 1.5, -2.0])
def test_slope_of_a_straight_line(pace: float) -> None:
    """In units an hour, of the second half."""
    points = series(*([7.0] * 30), *(7 + pace * minute for minute in range(31)))
    assert slope_per_hour(points) == pytest.approx(60 * pace)
