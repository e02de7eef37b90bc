"""Passwords: whether one is right, whether one is good enough, and changing it.

Nothing here tells an unknown user from a wrong password, neither by its words nor by its time.
https://spec.matrix.org/v1.19/client-server-api/#password-management
"""

from dataclasses import dataclass

from homeserver.domain.errors import BadRequest, Forbidden, NotFound, Unauthenticated
from homeserver.ports import Clock, PasswordHashing
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.interactive import Authorized, settle
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

MAX_PASSWORD_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Verified:
    """Somebody who knew the password. `new_hash` replaces `password_hash` if that was made at another cost."""

    user_id: str
    password_hash: str
    new_hash: str | None


class Passwords:
    """`min_length` in characters."""

    def __init__(
        self,
        database: Persistence,
        hashing: PasswordHashing,
        devices: Devices,
        clock: Clock,
        *,
        min_length: int = 1,
    ) -> None:
        self._database = database
        self._hashing = hashing
        self._devices = devices
        self._clock = clock
        self._min_length = max(min_length, 1)

    async def verify(self, user_id: str | None, password: str) -> Verified:
        """Raises Forbidden (M_FORBIDDEN, M_USER_DEACTIVATED), Unauthenticated (M_USER_LOCKED), LimitExceeded.

        None is a user who cannot be: it takes as long and fails.
        """
        _check_size(password)
        user = None
        if user_id is not None:
            user = await self._database.read(lambda store: store.users.find(user_id), single=True)
        known = None if user is None else user.password_hash
        check = await self._hashing.check(password, known)
        if user is not None and user.deactivated:
            raise Forbidden("This account has been deactivated", "M_USER_DEACTIVATED")
        if user is None or known is None or not check.correct:
            raise Forbidden("Wrong user name or password")
        if user.locked:
            raise Unauthenticated("This account has been locked", "M_USER_LOCKED", {"soft_logout": True})
        return Verified(user.user_id, known, await self._hashing.hash(password) if check.outdated else None)

    def check_strength(self, password: str) -> None:
        """Raises BadRequest, M_WEAK_PASSWORD if there is too little of it."""
        _check_size(password)
        if len(password) < self._min_length:
            raise BadRequest(f"A password needs at least {self._min_length} characters", "M_WEAK_PASSWORD")

    async def hash_new(self, password: str) -> str:
        """The hash of a password that somebody has chosen. Raises BadRequest, LimitExceeded."""
        self.check_strength(password)
        return await self._hashing.hash(password)

    async def change(
        self, user_id: str, password: str, authorized: Authorized, *, log_out: bool, keep_device: str | None
    ) -> None:
        """Sets the password; with `log_out` all devices go but `keep_device`.

        Raises BadRequest for a weak one, Forbidden if the account was closed meanwhile.
        """
        password_hash = await self.hash_new(password)

        def work(store: Store) -> None:
            user = store.users.lock(user_id)
            if user is None:
                raise NotFound("There is no such user")
            if user.deactivated:
                raise Forbidden("This account has been deactivated", "M_USER_DEACTIVATED")
            settle(store, authorized, self._clock.now_ms())
            store.users.set_password_hash(user_id, password_hash)
            if log_out:
                self._devices.remove_all(store, user_id, keep=keep_device)

        await self._database.write(work)


def _check_size(password: str) -> None:
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise BadRequest(f"A password may have at most {MAX_PASSWORD_BYTES} bytes")
