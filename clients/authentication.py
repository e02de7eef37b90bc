"""The client door: every route says who may come in and how often, and here it is kept.

    door.public("GET", "/_matrix/client/versions", self.versions)
    door.optional("POST", "/_matrix/client/v3/account/password", self.change_password)
    door.user("PUT", "/_matrix/client/v3/profile/{user_id}/{key}", self.set_field, limit="profile")

`public` endpoints take the request alone, `optional` ones also the requester or None, `user` ones the requester.
`limit` names a row of `clients.limits`; it counts by the requester or by the address, as the row says. Guests may call
what is on the list of `clients.guests`, and what is `public`.
https://spec.matrix.org/v1.19/client-server-api/#client-authentication
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from clients.guests import open_to_guests
from clients.limits import SCOPES, Limits
from homeserver.domain.errors import Forbidden, Unauthenticated
from homeserver.http.answers import Answer, StreamedAnswer
from homeserver.http.request import DEFAULT_BODY_LIMIT, Request
from homeserver.http.routing import Route
from homeserver.http.upgrade import Upgrade
from homeserver.services.accounts.requester import Requester

Result = Answer | StreamedAnswer | Mapping[str, Any]
PublicEndpoint = Callable[[Request], Awaitable[Result | Upgrade]]
OptionalEndpoint = Callable[[Request, Requester | None], Awaitable[Result]]
UserEndpoint = Callable[[Request, Requester], Awaitable[Result]]

_NOTHING = nullcontext()


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
        also: tuple[str, ...] = (),
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> Route:
        """For everybody. Raises ValueError for a limit that does not count by address."""
        limits = _rows(path, limit, ("address",), also)

        async def run(request: Request) -> Result | Upgrade:
            with self._counted(limit, request.remote, also):
                return await endpoint(request)

        return Route(method, path, run, limits=limits, body_limit=body_limit)

    def optional(
        self,
        method: str,
        path: str,
        endpoint: OptionalEndpoint,
        *,
        limit: str | None = "general_address",
        also: tuple[str, ...] = (),
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> Route:
        """For everybody, but a token that is sent must be good. Raises ValueError as `public`."""
        limits = _rows(path, limit, ("address",), also)
        for_guests = open_to_guests(method, path)

        async def run(request: Request) -> Result:
            with self._counted(limit, request.remote, also):
                token = access_token(request)
                if token is None:
                    return await endpoint(request, None)
                requester = await self._requester(request, token, False)
                self._check_guest(request, requester, for_guests)
                return await endpoint(request, requester)

        return Route(method, path, run, limits=limits, body_limit=body_limit)

    def user(
        self,
        method: str,
        path: str,
        endpoint: UserEndpoint,
        *,
        limit: str | None = "general",
        also: tuple[str, ...] = (),
        even_locked: bool = False,
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> Route:
        """For whoever is logged in; `even_locked`: also if the account is locked.

        Raises ValueError for a limit that counts neither by user nor by address.
        """
        for_guests = open_to_guests(method, path)
        of_guests = () if for_guests is None or method == "GET" else ("guests",)
        limits = _rows(path, limit, ("user", "address"), (*also, *of_guests))
        by_user = limit is not None and SCOPES[limit] == "user"

        async def run(request: Request) -> Result:
            token = access_token(request)
            if token is None:
                self._limits.take("general_address", request.remote)
                raise Unauthenticated("This needs an access token", "M_MISSING_TOKEN")
            requester = await self._requester(request, token, even_locked)
            with self._counted(limit, requester.user_id if by_user else request.remote, also):
                self._check_guest(request, requester, for_guests)
                return await endpoint(request, requester)

        return Route(method, path, run, limits=limits, body_limit=body_limit)

    def _counted(self, limit: str | None, subject: str, also: tuple[str, ...]) -> AbstractContextManager[object]:
        """Takes from the row of a route. What one of its further rows refuses shall take from none of them: whoever
        comes again in time would else be refused by the first."""
        if limit is None:
            return _NOTHING
        if also:
            return self._limits.taking(limit, subject)
        self._limits.take(limit, subject)
        return _NOTHING

    def _check_guest(self, request: Request, requester: Requester, wanted: Mapping[str, str] | None) -> None:
        """Raises Forbidden if this is not for guests, LimitExceeded for a guest who sends too much."""
        if not requester.is_guest:
            return
        if wanted is None or any(request.parameters.get(name) != value for name, value in wanted.items()):
            raise Forbidden("This is not for guests: make yourself an account", "M_GUEST_ACCESS_FORBIDDEN")
        if request.method != "GET":
            self._limits.take("guests", requester.user_id)

    async def _requester(self, request: Request, token: str, even_locked: bool) -> Requester:
        try:
            requester = await self._authenticator.authenticate(token, request.remote, even_locked=even_locked)
        except Unauthenticated:
            self._limits.take("general_address", request.remote)
            raise
        request.context = requester
        return requester


def _rows(path: str, limit: str | None, scopes: tuple[str, ...], also: tuple[str, ...]) -> tuple[str, ...]:
    """All that a route is subject to. Raises ValueError for what is no row, or that the door cannot count."""
    if limit is not None and SCOPES.get(limit) not in scopes:
        raise ValueError(f"{path}: the limit {limit!r} does not count by {' or '.join(scopes)}")
    unknown = [name for name in also if name not in SCOPES]
    if unknown:
        raise ValueError(f"{path}: no such limits: {', '.join(unknown)}")
    return also if limit is None else (limit, *also)
