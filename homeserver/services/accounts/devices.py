"""Beginning and ending sessions on devices: the part of it that stands in a transaction.

Every session belongs to a device, and a device has one session. Whatever ends sessions (logging out, a new password,
deactivation, the same device logging in again) does it here, so that their tokens are forgotten everywhere.
https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import fits
from homeserver.ports import Clock, Randomness
from homeserver.services.accounts.session_cache import SessionCache
from homeserver.storage.sessions import RemovedSession
from homeserver.storage.store import Store
from homeserver.streams.keys import device_key, user_key
from homeserver.streams.publications import SessionEnded

# 62^43 is more than 2^256.
TOKEN_LENGTH = 43
DEVICE_ID_LENGTH = 10
MAX_DISPLAY_NAME = 256


def token_hash(token: str) -> bytes:
    """What is stored of an access token. A token has 256 random bits, so a fast hash is enough."""
    # A header may bring bytes that are no UTF-8; they are no token of ours, and no error either.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is about to begin, and what the client is told of it."""

    user_id: str
    device_id: str
    display_name: str | None
    access_token: str
    created_ts: int
    expires_in_ms: int | None


class Devices:
    """`session_lifetime_ms`: after it the client must log in again; None: it need not."""

    def __init__(
        self, clock: Clock, randomness: Randomness, cache: SessionCache, *, session_lifetime_ms: int | None = None
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._cache = cache
        self._lifetime = session_lifetime_ms

    def draft(self, user_id: str, device_id: str | None = None, display_name: str | None = None) -> NewSession:
        """A session with a token of its own, on a device of that id (None: a new one). Raises BadRequest."""
        if device_id is not None and not (device_id and fits(device_id)):
            raise BadRequest("device_id must have 1 to 255 bytes and no U+0000")
        if display_name is not None and not fits(display_name, MAX_DISPLAY_NAME):
            raise BadRequest(f"A device's name may have at most {MAX_DISPLAY_NAME} bytes and no U+0000")
        return NewSession(
            user_id=user_id,
            device_id=self._randomness.token(DEVICE_ID_LENGTH).upper() if device_id is None else device_id,
            display_name=display_name,
            access_token=self._randomness.token(TOKEN_LENGTH),
            created_ts=self._clock.now_ms(),
            expires_in_ms=self._lifetime,
        )

    def begin(self, store: Store, session: NewSession, *, new_account: bool = False) -> None:
        """Makes it good; the device's earlier one ends. A `new_account` has none."""
        if not new_account:
            removed = store.sessions.remove_of_device(session.user_id, session.device_id)
            self._publish(store, session.user_id, removed, replaced=True)
        store.devices.add(session.user_id, session.device_id, session.display_name, session.created_ts)
        expires_ts = None if session.expires_in_ms is None else session.created_ts + session.expires_in_ms
        hashed = token_hash(session.access_token)
        store.sessions.add(hashed, session.user_id, session.device_id, session.created_ts, expires_ts)

    def remove(self, store: Store, user_id: str, device_id: str) -> None:
        """The device with its session."""
        removed = store.sessions.remove_of_device(user_id, device_id)
        store.devices.remove(user_id, device_id)
        self._publish(store, user_id, removed)

    def remove_all(self, store: Store, user_id: str, *, keep: str | None = None) -> None:
        """All of a user's devices but `keep`, with their sessions."""
        removed = store.sessions.remove_of_user(user_id, keep)
        store.devices.remove_all(user_id, keep)
        self._publish(store, user_id, removed)

    def _publish(
        self, store: Store, user_id: str, removed: Sequence[RemovedSession], *, replaced: bool = False
    ) -> None:
        if not removed:
            return
        hashes = tuple(session.token_hash for session in removed)
        keys = {user_key(user_id): None} | {device_key(user_id, session.device_id): None for session in removed}
        # The publication waits for its turn at the watermark; here the tokens are of no use from the commit on.
        store.after_commit.append(lambda: self._cache.drop(hashes))
        store.publish(store.take_position(), keys, SessionEnded(hashes, replaced))
