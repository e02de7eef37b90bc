"""The client door: every route says who may come in and how often, and here it is kept.

    door.public("GET", "/_matrix/client/versions", self.versions)
    door.optional("POST", "/_matrix/client/v3/account/password", self.change_password)
    door.user("PUT", "/_matrix/client/v3/profile/{user_id}/{key}", self.set_field, limit="profile")

`public` endpoints take the request alone, `optional` ones also the requester or None, `user` ones the requester.
`limit` names a row of `clients.limits`; it counts by the requester or by the address, as the row says.
https://spec.matrix.org/v1.19/client-server-api/#client-authentication
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from clients.limits import LIMITS, Limits
from homeserver.domain.errors import Unauthenticated
from homeserver.http.answers import Answer
from homeserver.http.request import DEFAULT_BODY_LIMIT, Request
from homeserver.http.routing import Route
from homeserver.http.upgrade import Upgrade
from homeserver.services.accounts.requester import Requester

Result = Answer | Mapping[str, Any]
PublicEndpoint = Callable[[Request], Awaitable[Result | Upgrade]]
OptionalEndpoint = Callable[[Request, Requester | None], Awaitable[Result]]
UserEndpoint = Callable[[Request, Requester], Awaitable[Result]]

_SCOPES = {row.name: row.scope for row in LIMITS}


class Authenticator(Protocol):
    """Knows whose an access token is."""

    async def authenticate(self, token: str, address: str, *, even_locked: bool = False) -> Requester:
        """Raises Unauthenticated."""
        ...


def access_token(request: Request) -> str | None:
    """The token that a request carries.

    COMPAT: in the query it is out of the spec from version 1.20 on; the versions that we advertise have it.
    """
    scheme, _, token = (request.header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and (token := token.strip()):
        return token
    return request.text("access_token") or None


class Door:
    def __init__(self, authenticator: Authenticator, limits: Limits) -> None:
        self._authenticator = authenticator
        self._limits = limits

    def public(
        self,
        method: str,
        path: str,
        endpoint: PublicEndpoint,
        *,
        limit: str | None = "general_address",
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> Route:
        """For everybody. Raises ValueError for a limit that does not count by address."""
        _check_scope(path, limit, ("address",))

        async def run(request: Request) -> Result | Upgrade:
            if limit is not None:
                self._limits.take(limit, request.remote)
            return await endpoint(request)

        return Route(method, path, run, limit=limit, body_limit=body_limit)

    def optional(
        self,
        method: str,
        path: str,
        endpoint: OptionalEndpoint,
        *,
        limit: str | None = "general_address",
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> Route:
        """For everybody, but a token that is sent must be good. Raises ValueError as `public`."""
        _check_scope(path, limit, ("address",))

        async def run(request: Request) -> Result:
            if limit is not None:
                self._limits.take(limit, request.remote)
            token = access_token(request)
            return await endpoint(request, None if token is None else await self._requester(request, token, False))

        return Route(method, path, run, limit=limit, body_limit=body_limit)

    def user(
        self,
        method: str,
        path: str,
        endpoint: UserEndpoint,
        *,
        limit: str | None = "general",
        even_locked: bool = False,
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> Route:
        """For whoever is logged in; `even_locked`: also if the account is locked.

        Raises ValueError for a limit that counts neither by user nor by address.
        """
        by_user = _check_scope(path, limit, ("user", "address")) == "user"

        async def run(request: Request) -> Result:
            token = access_token(request)
            if token is None:
                self._limits.take("general_address", request.remote)
                raise Unauthenticated("This needs an access token", "M_MISSING_TOKEN")
            requester = await self._requester(request, token, even_locked)
            if limit is not None:
                self._limits.take(limit, requester.user_id if by_user else request.remote)
            return await endpoint(request, requester)

        return Route(method, path, run, limit=limit, body_limit=body_limit)

    async def _requester(self, request: Request, token: str, even_locked: bool) -> Requester:
        try:
            requester = await self._authenticator.authenticate(token, request.remote, even_locked=even_locked)
        except Unauthenticated:
            self._limits.take("general_address", request.remote)
            raise
        request.context = requester
        return requester


def _check_scope(path: str, limit: str | None, scopes: tuple[str, ...]) -> str | None:
    if limit is None:
        return None
    scope = _SCOPES.get(limit)
    if scope not in scopes:
        raise ValueError(f"{path}: the limit {limit!r} does not count by {' or '.join(scopes)}")
    return scope
