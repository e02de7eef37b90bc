"""New accounts: who may register, which names there are, and making one.

https://spec.matrix.org/v1.19/client-server-api/#account-registration
"""

from dataclasses import dataclass
from typing import Literal

import orjson

from homeserver.domain.errors import BadRequest, Forbidden, Unauthenticated
from homeserver.domain.identifiers import is_new_localpart, is_opaque_id, is_user_id
from homeserver.ports import Clock, Randomness
from homeserver.services.accounts.devices import Devices, NewSession
from homeserver.services.accounts.interactive import (
    DUMMY,
    NOTHING_ASKED,
    REGISTRATION_TOKEN,
    TOKEN_DETAIL,
    Authorized,
    settle,
)
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.persistence import Persistence
from homeserver.services.server_user import server_user
from homeserver.storage.store import Store

# closed: only the operator makes accounts; token: whoever has a registration token; open: everybody.
Policy = Literal["closed", "token", "open"]

GENERATED_LENGTH = 12
MAX_TOKEN = 64


@dataclass(frozen=True, slots=True)
class Registered:
    """`session` is None if the new user was not logged in."""

    user_id: str
    session: NewSession | None


class Registration:
    def __init__(
        self,
        database: Persistence,
        passwords: Passwords,
        devices: Devices,
        clock: Clock,
        randomness: Randomness,
        *,
        server_name: str,
        policy: Policy,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._devices = devices
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._policy = policy

    @property
    def flows(self) -> tuple[tuple[str, ...], ...]:
        """What strangers must go through. Raises Forbidden if nobody may register."""
        self._check_open()
        return ((REGISTRATION_TOKEN,),) if self._policy == "token" else ((DUMMY,),)

    async def free_user_id(self, username: str | None) -> str:
        """The id that a new user of this name will have. None: a name is made up.

        Raises BadRequest: M_INVALID_USERNAME, M_USER_IN_USE.
        """
        if username is None:
            username = self._randomness.token(GENERATED_LENGTH)
        user_id = self._user_id(username)
        if user_id == server_user(self._server_name):
            raise _in_use()
        if await self._database.read(lambda store: store.users.find(user_id), single=True) is not None:
            raise _in_use()
        return user_id

    async def is_available(self, username: str) -> None:
        """As `free_user_id`, for strangers. Raises Forbidden too, if nobody may register."""
        self._check_open()
        await self.free_user_id(username)

    async def is_token_usable(self, token: str) -> bool:
        """Raises Forbidden if nobody may register, and BadRequest for what can be no token."""
        self._check_open()
        if not (is_opaque_id(token) and len(token) <= MAX_TOKEN):
            raise BadRequest("This is not a registration token")
        now = self._clock.now_ms()
        return await self._database.read(lambda store: store.registration_tokens.is_usable(token, now), single=True)

    async def check_token(self, token: str) -> dict[str, str]:
        """The stage m.login.registration_token: what is to be remembered of it. Raises Unauthenticated."""
        if not await self.is_token_usable(token):
            raise Unauthenticated("The registration token is unknown, used up or has expired", "M_UNAUTHORIZED")
        return {TOKEN_DETAIL: token}

    async def register(
        self,
        user_id: str,
        password: str,
        authorized: Authorized = NOTHING_ASKED,
        *,
        log_in: bool = True,
        device_id: str | None = None,
        device_name: str | None = None,
        admin: bool = False,
        displayname: str | None = None,
    ) -> Registered:
        """A new account with an id from `free_user_id`. Raises BadRequest, Forbidden, LimitExceeded."""
        session = self._devices.draft(user_id, device_id, device_name) if log_in else None
        password_hash = await self._passwords.hash_new(password)
        now = self._clock.now_ms()

        def work(store: Store) -> None:
            if not store.users.add(user_id, password_hash, admin, now):
                user = store.users.find(user_id)
                # The salt makes a hash unique. This one was written by ourselves, before the database's answer got
                # lost, and so was everything below.
                if user is not None and user.password_hash == password_hash:
                    return
                raise _in_use()
            settle(store, authorized, now)
            if displayname is not None:
                store.profiles.set(user_id, "displayname", orjson.dumps(displayname).decode())
            if session is not None:
                self._devices.begin(store, session, new_account=True)

        await self._database.write(work)
        return Registered(user_id, session)

    def _user_id(self, username: str) -> str:
        # Capitals are taken as their small letters, as phones write names. Only of ASCII: others have small letters
        # that look like those of somebody else.
        localpart = username.lower() if username.isascii() else username
        user_id = f"@{localpart}:{self._server_name}"
        if not is_new_localpart(localpart) or not is_user_id(user_id):
            raise BadRequest(
                "A user name is made of a-z, 0-9 and . _ = - / +, and not longer than 255 with the server's name",
                "M_INVALID_USERNAME",
            )
        return user_id

    def _check_open(self) -> None:
        if self._policy == "closed":
            raise Forbidden("Registration is closed on this server")


def _in_use() -> BadRequest:
    return BadRequest("This user name is taken", "M_USER_IN_USE")
