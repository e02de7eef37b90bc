"""What the house needs from outside, as the narrowest Protocols; `config` plugs the real ones in.

Not here: anything that the house can compute, and anything that nobody asks for yet.
"""

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time. Durations are measured on the event loop's own clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class Randomness(Protocol):
    """Unpredictable values, good enough for secrets."""

    def token(self, length: int) -> str:
        """`length` characters, each of A-Z, a-z, 0-9, fit for a path, a header and an identifier."""
        ...

    def bytes(self, length: int) -> bytes:
        """`length` octets."""
        ...


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """`outdated`: the password is correct, and its hash should be made anew, at today's cost."""

    correct: bool
    outdated: bool = False


class PasswordHashing(Protocol):
    """Slow on purpose, and away from the loop. Both raise LimitExceeded if too many wait already."""

    async def hash(self, password: str) -> str:
        """A hash with everything that `check` needs to know, as text."""
        ...

    async def check(self, password: str, password_hash: str | None) -> PasswordCheck:
        """Takes as long without a hash (never correct) as with one."""
        ...
