"""Who asks, logging in and logging out.

https://spec.matrix.org/v1.19/client-server-api/#client-authentication
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from homeserver.domain.errors import Forbidden, Unauthenticated
from homeserver.ports import Clock
from homeserver.services.accounts.devices import Devices, NewSession, token_hash
from homeserver.services.accounts.last_seen import LastSeen
from homeserver.services.accounts.passwords import Verified
from homeserver.services.accounts.requester import Requester
from homeserver.services.accounts.session_cache import SessionCache
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store
from homeserver.streams.publications import Publication, SessionEnded

# Told of tokens, by their hashes, that are no longer good, and whether their device goes on with another one.
EndListener = Callable[[Sequence[bytes], bool], None]


class Publications(Protocol):
    """Where sessions that ended are heard of."""

    def listen(self, listener: Callable[[Publication], None]) -> None: ...


class Sessions:
    def __init__(
        self,
        database: Persistence,
        publications: Publications,
        clock: Clock,
        devices: Devices,
        cache: SessionCache,
        last_seen: LastSeen,
    ) -> None:
        self._database = database
        self._clock = clock
        self._devices = devices
        self._cache = cache
        self._last_seen = last_seen
        self._listeners: list[EndListener] = []
        publications.listen(self._heard)

    def listen(self, listener: EndListener) -> None:
        """`listener` is called with every end of sessions, wherever it came from. It must be quick."""
        self._listeners.append(listener)

    async def authenticate(self, token: str, address: str, *, even_locked: bool = False) -> Requester:
        """Whose token it is. Raises Unauthenticated: M_UNKNOWN_TOKEN, M_USER_LOCKED.

        "When an account is locked, servers MUST return a 401 Unauthorized error response with an M_USER_LOCKED error
        code and soft_logout set to true on all but ... POST /logout, POST /logout/all": those are `even_locked`.
        """
        hashed = token_hash(token)
        requester = self._cache.get(hashed)
        if requester is None:
            requester = await self._find(hashed)
        now = self._clock.now_ms()
        if requester.expires_ts is not None and requester.expires_ts <= now:
            raise Unauthenticated("The access token has expired", extra={"soft_logout": True})
        if requester.is_locked and not even_locked:
            raise Unauthenticated("This account has been locked", "M_USER_LOCKED", {"soft_logout": True})
        self._last_seen.note(requester.user_id, requester.device_id, now, address)
        return requester

    def confirm(self, requester: Requester, address: str) -> bool:
        """Whether somebody who was authenticated is at hand still, just as then. False also if that is not known at
        once: then the token must be shown again."""
        known = self._cache.get(requester.token_hash)
        if known is None or (known is not requester and known != requester):
            return False
        now = self._clock.now_ms()
        if requester.expires_ts is not None and requester.expires_ts <= now:
            return False
        self._last_seen.note(requester.user_id, requester.device_id, now, address)
        return True

    async def log_in(
        self, verified: Verified, device_id: str | None = None, display_name: str | None = None
    ) -> NewSession:
        """A session for somebody whose password was verified; an earlier one of the same device ends.

        Raises BadRequest for a device id or name that cannot be, and Forbidden if the account was closed or got
        another password since it was verified.
        """
        session = self._devices.draft(verified.user_id, device_id, display_name)

        def work(store: Store) -> None:
            user = store.users.lock(verified.user_id)
            if user is None or user.password_hash not in (verified.password_hash, verified.new_hash):
                raise Forbidden("The password was changed a moment ago")
            if verified.new_hash is not None:
                store.users.set_password_hash(verified.user_id, verified.new_hash)
            self._devices.begin(store, session)

        await self._database.write(work)
        return session

    async def log_out(self, requester: Requester) -> None:
        """Ends the session and removes its device."""
        await self._database.write(lambda store: self._devices.remove(store, requester.user_id, requester.device_id))

    async def log_out_all(self, requester: Requester) -> None:
        """Ends all sessions of the user and removes all devices, the requester's too."""
        await self._database.write(lambda store: self._devices.remove_all(store, requester.user_id))

    async def _find(self, hashed: bytes) -> Requester:
        generation = self._cache.generation
        row = await self._database.read(lambda store: store.sessions.find(hashed), single=True)
        if row is None or row.deactivated:
            raise Unauthenticated("The access token is not, or no longer, good")
        requester = Requester(
            user_id=row.user_id,
            device_id=row.device_id,
            token_hash=hashed,
            is_admin=row.admin,
            is_suspended=row.suspended,
            is_locked=row.locked,
            expires_ts=row.expires_ts,
            is_guest=row.guest,
        )
        # A lock may be taken off at any time, and nobody publishes that.
        if not row.locked:
            self._cache.put(requester, generation)
        return requester

    def _heard(self, publication: Publication) -> None:
        if isinstance(publication.item, SessionEnded):
            self._cache.drop(publication.item.token_hashes)
            for listener in self._listeners:
                listener(publication.item.token_hashes, publication.item.replaced)
