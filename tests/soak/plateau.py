"""Whether a series of measurements has come to rest: pure arithmetic."""

from collections.abc import Sequence

# (seconds, value)
Point = tuple[float, float]


def slope_per_hour(points: Sequence[Point]) -> float:
    """Of the straight line through the points of the second half, by least squares."""
    half = points[len(points) // 2 :]
    if len(half) < 2:
        return 0.0
    mean_time = sum(time for time, _ in half) / len(half)
    mean = sum(value for _, value in half) / len(half)
    spread = sum((time - mean_time) ** 2 for time, _ in half)
    return 3600 * sum((time - mean_time) * (value - mean) for time, value in half) / spread if spread else 0.0


def rests(points: Sequence[Point], slack: float, share: float = 0.03) -> bool:
    """Whether the highest value of the last quarter is no more above that of the third than `slack` and `share`."""
    quarter = len(points) // 4
    if quarter == 0:
        return False
    third = max(value for _, value in points[-2 * quarter : -quarter])
    last = max(value for _, value in points[-quarter:])
    return last <= third * (1 + share) + slack
