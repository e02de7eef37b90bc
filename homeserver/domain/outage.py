"""How long a server that does not answer is left alone: as arithmetic, without a clock.

The pause doubles with each attempt that fails after the last pause is over, so that many attempts at once count as one,
up to an hour; a random part keeps servers from trying all at the same moment. Who keeps outages, and what ends one, is
elsewhere (`federation.backoff`).
"""

from dataclasses import dataclass, replace

FIRST_MS, MOST_MS = 5_000, 3_600_000
# A sign of life lets an attempt through so long after the one that failed, however long the pause was to be.
SIGN_OF_LIFE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Outage:
    """`since_ms`: when an attempt failed first; `failed_ms`: when one failed last; `retry_ms`: no attempt before this;
    `pause_ms`: the pause, without its random part."""

    since_ms: int
    failed_ms: int
    retry_ms: int
    pause_ms: int


def after_failure(outage: Outage | None, begun_ms: int, now_ms: int, chance: float) -> Outage:
    """The outage once an attempt that began at `begun_ms` has failed. `chance` is a random number from 0 to 1."""
    if outage is None:
        return Outage(now_ms, now_ms, _retry(now_ms, FIRST_MS, chance), FIRST_MS)
    # Attempts that were under way together, or that went out in spite of the pause, tell nothing new.
    if begun_ms < wait_until(outage, begun_ms):
        return outage
    pause = min(outage.pause_ms * 2, MOST_MS)
    return Outage(outage.since_ms, now_ms, _retry(now_ms, pause, chance), pause)


def after_sign_of_life(outage: Outage, now_ms: int) -> Outage:
    """The server asks something of us, so it may be reached again. Its requests shall not make us try all the time,
    if only we reach it not."""
    return replace(outage, retry_ms=min(outage.retry_ms, max(now_ms, outage.failed_ms + SIGN_OF_LIFE_MS)))


def wait_until(outage: Outage, now_ms: int) -> int:
    """When the next attempt may be made. A pause that is longer than any can be comes from a clock that was set back:
    it is over."""
    return outage.retry_ms if outage.retry_ms - now_ms <= MOST_MS * 2 else now_ms


def _retry(now_ms: int, pause_ms: int, chance: float) -> int:
    return now_ms + pause_ms + int(pause_ms * chance / 2)
