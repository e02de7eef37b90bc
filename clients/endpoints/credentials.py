"""A user name and a password in a body: at login, and as a stage of user-interactive authentication.

Guesses are counted per account; only failures count, so that whoever knows the password is not locked out by success.
https://spec.matrix.org/v1.19/client-server-api/#identifier-types
"""

from collections.abc import Mapping
from typing import Any

from clients.endpoints.bodies import required_text, text
from clients.limits import Limits
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.identifiers import is_user_id
from homeserver.services.accounts.interactive import Stage
from homeserver.services.accounts.passwords import Passwords, Verified
from homeserver.services.accounts.requester import Requester


class Credentials:
    def __init__(self, passwords: Passwords, limits: Limits, server_name: str) -> None:
        self._passwords = passwords
        self._limits = limits
        self._server_name = server_name

    async def verify(self, body: Mapping[str, Any]) -> Verified:
        """Whose name and password these are. Raises Forbidden, LimitExceeded; BadRequest for a body that is none."""
        user_id = self._user_id(body)
        return await self._verify(user_id, required_text(body, "password"))

    def stage(self, requester: Requester | None) -> Stage:
        """The stage m.login.password; with a requester it must be the requester's. Remembers the user's id."""

        async def check(auth: Mapping[str, Any]) -> Mapping[str, str]:
            password = required_text(auth, "password")
            named = "identifier" in auth or "user" in auth
            user_id = self._user_id(auth) if named or requester is None else requester.user_id
            if requester is not None and user_id != requester.user_id:
                raise Forbidden("This is another user's name")
            return {"user_id": (await self._verify(user_id, password)).user_id}

        return check

    async def _verify(self, user_id: str | None, password: str) -> Verified:
        if user_id is None:
            return await self._passwords.verify(None, password)
        with self._limits.hold("login_failures", user_id) as held:
            try:
                return await self._passwords.verify(user_id, password)
            except Forbidden:
                held.spend()
                raise

    def _user_id(self, body: Mapping[str, Any]) -> str | None:
        """The user whom a body names; None if that can be nobody of this server."""
        identifier = body.get("identifier")
        if identifier is None:
            # COMPAT: before identifiers there were `user`, and `medium` with `address`.
            name = text(body, "user")
            if name is None and text(body, "medium") is None:
                raise BadRequest("identifier is missing", "M_MISSING_PARAM")
            return None if name is None else self._complete(name)
        if not isinstance(identifier, dict):
            raise BadRequest("identifier must be an object", "M_BAD_JSON")
        # COMPAT: an example of the spec has a third-party identifier without its type.
        kind = text(identifier, "type") or ("m.id.thirdparty" if "medium" in identifier else "")
        if kind == "m.id.user":
            return self._complete(required_text(identifier, "user"))
        if kind in ("m.id.thirdparty", "m.id.phone"):
            return None  # no account here has one
        raise BadRequest("This type of identifier is not known here", "M_UNKNOWN")

    def _complete(self, name: str) -> str | None:
        """The id of a user named by it or by its localpart. All our names are of small letters."""
        if name.isascii():
            name = name.lower()
        user_id = name if name.startswith("@") else f"@{name}:{self._server_name}"
        ours = is_user_id(user_id) and user_id.partition(":")[2] == self._server_name
        return user_id if ours else None
