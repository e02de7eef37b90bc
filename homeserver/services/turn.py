"""Credentials for the operator's TURN server, through which calls find a way: good for some time, and for one user.

The password is made as coturn's `use-auth-secret` expects it: an HMAC of the user name, which begins with the time at
which it expires. Nothing is kept, and nothing asked of the TURN server.
https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1

from homeserver.ports import Clock

LIFETIME_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """`lifetime` is in seconds."""

    username: str
    password: str
    uris: Sequence[str]
    lifetime: int


class TurnServer:
    """`uris` begin with turn: or turns:; `secret` is shared with that server; `lifetime` is in seconds."""

    def __init__(self, clock: Clock, *, uris: Sequence[str], secret: str, lifetime: int = LIFETIME_SECONDS) -> None:
        self._clock = clock
        self._uris = tuple(uris)
        self._secret = secret.encode()
        self._lifetime = lifetime

    def credentials(self, user_id: str) -> TurnCredentials:
        username = f"{self._clock.now_ms() // 1000 + self._lifetime}:{user_id}"
        digest = hmac.new(self._secret, username.encode(), sha1).digest()
        return TurnCredentials(username, b64encode(digest).decode(), self._uris, self._lifetime)
