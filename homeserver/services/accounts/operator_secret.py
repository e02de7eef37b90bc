"""The secret that the operator shares with this server, and what proves that somebody knows it.

Whoever does asks for a nonce, and sends it back with what is wanted and a MAC over all of it. A nonce is good for one
request and one minute. It carries its own time and our own signature, so those that nobody uses need no memory; those
that were used are remembered until they have expired.
"""

import hashlib
import hmac

from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.ports import Clock, Randomness

NONCE_MS = 60_000
MAX_USED = 10_000


class OperatorSecret:
    def __init__(self, clock: Clock, randomness: Randomness, *, secret: str, max_used: int = MAX_USED) -> None:
        """Raises ValueError for an empty secret: anybody could guess that."""
        if not secret:
            raise ValueError("The shared secret must not be empty")
        self._clock = clock
        self._randomness = randomness
        self._secret = secret.encode()
        self._max_used = max_used
        self._key = randomness.bytes(32)
        # Used nonces with the time at which they expire, in the order of use.
        self._used: dict[str, int] = {}

    def nonce(self) -> str:
        stamp = f"{self._clock.now_ms() + NONCE_MS}.{self._randomness.token(16)}"
        return f"{stamp}.{self._signature(stamp)}"

    def spend(self, nonce: str, mac: str, *parts: str) -> None:
        """`mac` is the HMAC-SHA1 of the nonce and the parts, with NUL between them, so no part may hold one. Raises
        BadRequest for a nonce that is not good, Forbidden for a wrong MAC."""
        expires = self._expiry(nonce)
        expected = hmac.new(self._secret, "\0".join((nonce, *parts)).encode(), hashlib.sha1).hexdigest()
        if not hmac.compare_digest(expected.encode(), mac.lower().encode()):
            raise Forbidden("The MAC is wrong")
        # Only now: whoever does not know the secret cannot fill this.
        self._used[nonce] = expires

    def _signature(self, stamp: str) -> str:
        return hmac.new(self._key, stamp.encode(), hashlib.sha256).hexdigest()[:32]

    def _expiry(self, nonce: str) -> int:
        """When a nonce that may be used now expires. Raises BadRequest for others."""
        now = self._clock.now_ms()
        for used in [used for used, expires in self._used.items() if expires <= now]:
            del self._used[used]
        stamp, _, signature = nonce.rpartition(".")
        ours = hmac.compare_digest(self._signature(stamp).encode(), signature.encode())
        expires = int(stamp.partition(".")[0]) if ours else 0
        if expires <= now or nonce in self._used:
            raise BadRequest("The nonce is unknown, used or has expired")
        if len(self._used) >= self._max_used:
            raise BadRequest("Too many requests of the operator within a minute")
        return expires
