"""Logging in and out.

https://spec.matrix.org/v1.19/client-server-api/#login
"""

from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.bodies import required_text, text
from clients.endpoints.credentials import Credentials
from homeserver.domain.errors import BadRequest
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.devices import NewSession
from homeserver.services.accounts.interactive import PASSWORD
from homeserver.services.accounts.requester import Requester
from homeserver.services.accounts.sessions import Sessions

# Of every body that holds nothing but names and passwords.
SMALL_BODY = 16 * 1024


def session_content(session: NewSession) -> dict[str, Any]:
    """What a client is told of its new session."""
    content: dict[str, Any] = {
        "user_id": session.user_id,
        "access_token": session.access_token,
        "device_id": session.device_id,
    }
    if session.expires_in_ms is not None:
        content["expires_in_ms"] = session.expires_in_ms
    return content


class Login:
    """`client_url`: where clients should go from now on, None: where they are."""

    def __init__(self, sessions: Sessions, credentials: Credentials, client_url: str | None) -> None:
        self._sessions = sessions
        self._credentials = credentials
        self._client_url = client_url

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("GET", "/_matrix/client/v3/login", self.flows),
            door.public(
                "POST",
                "/_matrix/client/v3/login",
                self.log_in,
                limit="login_address",
                also=("login_failures",),
                body_limit=SMALL_BODY,
            ),
            door.user("POST", "/_matrix/client/v3/logout", self.log_out, even_locked=True),
            door.user("POST", "/_matrix/client/v3/logout/all", self.log_out_all, even_locked=True),
        ]

    async def flows(self, request: Request) -> Result:
        return {"flows": [{"type": PASSWORD}]}

    async def log_in(self, request: Request) -> Result:
        body = await request.json_object()
        if required_text(body, "type") != PASSWORD:
            raise BadRequest("This type of login is not known here", "M_UNKNOWN")
        device_id, device_name = text(body, "device_id"), text(body, "initial_device_display_name")
        verified = await self._credentials.verify(body)
        content = session_content(await self._sessions.log_in(verified, device_id, device_name))
        if self._client_url is not None:
            content["well_known"] = {"m.homeserver": {"base_url": self._client_url}}
        return content

    async def log_out(self, request: Request, requester: Requester) -> Result:
        await self._sessions.log_out(requester)
        return {}

    async def log_out_all(self, request: Request, requester: Requester) -> Result:
        await self._sessions.log_out_all(requester)
        return {}
