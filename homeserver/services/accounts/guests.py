"""Guests: accounts that anybody gets for the asking, if the operator wants that, and that may do little.

A guest has no password and one device; whoever loses its token has lost the account. With the token it can be made an
account like others, which keeps its id and its rooms. What guests may ask for stands in `clients.guests`, and which
rooms they may be in, in `services.rooms.guest_access`.
https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.ports import Clock, Randomness
from homeserver.services.accounts.devices import Devices, NewSession, token_hash
from homeserver.services.accounts.interactive import Authorized, settle
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.registration import Registered
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

# Of small letters and digits.
NAME_LENGTH = 16


class Guests:
    """`allowed`: whether there are new ones. Those that are here stay."""

    def __init__(
        self,
        database: Persistence,
        passwords: Passwords,
        devices: Devices,
        clock: Clock,
        randomness: Randomness,
        *,
        server_name: str,
        allowed: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._devices = devices
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._allowed = allowed

    def check_allowed(self) -> None:
        """Raises Forbidden (M_GUEST_ACCESS_FORBIDDEN) if nobody may become a guest."""
        if not self._allowed:
            raise Forbidden("There are no guests on this server", "M_GUEST_ACCESS_FORBIDDEN")

    async def register(self, device_name: str | None = None) -> NewSession:
        """A new guest, logged in. "The server MUST pick a device_id for the account regardless of input."

        Raises Forbidden as `check_allowed`, BadRequest for a device's name that cannot be.
        """
        self.check_allowed()
        user_id = f"@{self._randomness.token(NAME_LENGTH).lower()}:{self._server_name}"
        session = self._devices.draft(user_id, None, device_name)
        hashed = token_hash(session.access_token)

        def work(store: Store) -> None:
            if store.users.add(user_id, None, False, session.created_ts, guest=True):
                self._devices.begin(store, session, new_account=True)
            elif store.sessions.find(hashed) is None:
                # With the session it was ourselves, before the database's answer got lost.
                raise BadRequest("This user name is taken", "M_USER_IN_USE")

        await self._database.write(work)
        return session

    async def find(self, guest_token: str, username: str) -> str:
        """The id of the guest whose token and name these are. Raises Forbidden for anything else."""
        user_id = f"@{username.lower()}:{self._server_name}"
        await self._database.read(lambda store: self._check(store, guest_token, user_id), single=True)
        return user_id

    async def upgrade(
        self,
        guest_token: str,
        user_id: str,
        password: str,
        authorized: Authorized,
        *,
        log_in: bool = True,
        device_id: str | None = None,
        device_name: str | None = None,
    ) -> Registered:
        """Makes a guest, with an id from `find`, an account like others. Its token ends; its device goes on if
        `device_id` names it. Raises Forbidden as `find`, BadRequest, LimitExceeded.
        """
        session = self._devices.draft(user_id, device_id, device_name) if log_in else None
        password_hash = await self._passwords.hash_new(password)
        now = self._clock.now_ms()

        def work(store: Store) -> None:
            user = store.users.lock(user_id)
            if user is not None and user.password_hash == password_hash:
                return  # by ourselves, before the database's answer got lost: the salt makes a hash unique
            self._check(store, guest_token, user_id)
            settle(store, authorized, now)
            store.users.set_no_guest(user_id, password_hash)
            self._devices.remove_all(store, user_id, keep=None if session is None else session.device_id)
            if session is not None:
                self._devices.begin(store, session)

        await self._database.write(work)
        return Registered(user_id, session)

    def _check(self, store: Store, guest_token: str, user_id: str) -> None:
        row = store.sessions.find(token_hash(guest_token))
        expired = row is not None and row.expires_ts is not None and row.expires_ts <= self._clock.now_ms()
        if row is None or expired or not row.guest or row.deactivated or row.locked:
            raise Forbidden("guest_access_token is not the token of a guest")
        if row.user_id != user_id:
            raise Forbidden("guest_access_token is that of another guest than username names")
