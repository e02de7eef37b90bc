"""A clock and a randomness that tests hold in their hands."""

import random
import string

_ALPHABET = string.ascii_letters + string.digits


class HandClock:
    """Implements `homeserver.ports.Clock`: stands still until a test moves it."""

    def __init__(self, ms: int = 1_700_000_000_000) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


class SeededRandomness:
    """Implements `homeserver.ports.Randomness` with the same values in every run."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def token(self, length: int) -> str:
        return "".join(self._random.choices(_ALPHABET, k=length))

    def bytes(self, length: int) -> bytes:
        return self._random.randbytes(length)
