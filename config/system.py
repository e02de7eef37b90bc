"""The machine's own clock and randomness: the only place that asks it for either.

https://docs.python.org/3/library/secrets.html
"""

import secrets
import string
import time

_ALPHABET = string.ascii_letters + string.digits


class SystemClock:
    """Implements `homeserver.ports.Clock`."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SystemRandomness:
    """Implements `homeserver.ports.Randomness` from the kernel's generator."""

    def token(self, length: int) -> str:
        return "".join([secrets.choice(_ALPHABET) for _ in range(length)])

    def bytes(self, length: int) -> bytes:
        return secrets.token_bytes(length)
