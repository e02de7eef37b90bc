"""The keys of this server: what it answers about them, and its signature under what it says.

https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
"""

from collections.abc import Mapping, Sequence
from typing import Any

from signedjson.types import SigningKey

from homeserver.domain.server_keys import ServerKey, own_document
from homeserver.domain.signing import key_id_of, sign_json
from homeserver.ports import Clock

# "Originating servers should avoid returning responses that expire in less than an hour."
VALIDITY_MS = 24 * 3600 * 1000
RENEWAL_MS = 3600 * 1000
_FOREVER = 2**63


class OwnKeys:
    """`key` signs now; `old` are the public keys that did so before."""

    def __init__(self, server_name: str, key: SigningKey, old: Sequence[ServerKey], clock: Clock) -> None:
        self.server_name = server_name
        self._key = key
        self._old = tuple(old)
        self._clock = clock
        self._document: Mapping[str, Any] = {}
        self._made_ts: int | None = None

    @property
    def keys(self) -> tuple[ServerKey, ...]:
        """To check what we signed ourselves."""
        return (ServerKey(key_id_of(self._key), bytes(self._key.verify_key), _FOREVER), *self._old)

    def document(self) -> Mapping[str, Any]:
        """The answer to who asks for our keys, signed; made anew every hour."""
        now = self._clock.now_ms()
        if self._made_ts is None or not self._made_ts <= now < self._made_ts + RENEWAL_MS:
            self._document = own_document(self.server_name, self._key, self._old, now + VALIDITY_MS)
            self._made_ts = now
        return self._document

    def sign(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with our signature beside those that it has."""
        return sign_json(obj, self.server_name, self._key)
