"""Registration by whoever knows a secret of the operator: provisioning tools use it, in the form that Synapse gave it.

Ask for a nonce, and send it back with the name, the password and a MAC over all of them. A nonce is good for one
account and one minute. It carries its own time and our own signature, so those that nobody uses need no memory; those
that were used are remembered until they have expired.

https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

import hashlib
import hmac

from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.ports import Clock, Randomness
from homeserver.services.accounts.registration import Registered, Registration

NONCE_MS = 60_000
MAX_USED = 10_000


class SharedSecretRegistration:
    def __init__(
        self,
        registration: Registration,
        clock: Clock,
        randomness: Randomness,
        *,
        secret: str,
        max_used: int = MAX_USED,
    ) -> None:
        """Raises ValueError for an empty secret: anybody could guess that."""
        if not secret:
            raise ValueError("The shared secret must not be empty")
        self._registration = registration
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

    async def register(
        self, nonce: str, username: str, password: str, mac: str, *, admin: bool, displayname: str | None = None
    ) -> Registered:
        """A new account, logged in, whatever the policy. Raises BadRequest and Forbidden, LimitExceeded."""
        expires = self._expiry(nonce)
        if "\0" in username or "\0" in password:
            raise BadRequest("Neither the user name nor the password may contain U+0000")
        parts = (nonce, username, password, "admin" if admin else "notadmin")
        expected = hmac.new(self._secret, "\0".join(parts).encode(), hashlib.sha1).hexdigest()
        if not hmac.compare_digest(expected.encode(), mac.lower().encode()):
            raise Forbidden("The MAC is wrong")
        # Only now: whoever does not know the secret cannot fill this.
        self._used[nonce] = expires
        user_id = await self._registration.free_user_id(username)
        return await self._registration.register(user_id, password, admin=admin, displayname=displayname)

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
            raise BadRequest("Too many registrations within a minute")
        return expires
