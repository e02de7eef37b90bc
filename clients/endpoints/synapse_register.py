"""Registration by shared secret, at the path and in the words that provisioning tools know from Synapse.

https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.login import SMALL_BODY, session_content
from homeserver.domain.errors import BadRequest, BrokenInvariant
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.shared_secret import SharedSecretRegistration

PATH = "/_synapse/admin/v1/register"


class SynapseRegister:
    def __init__(self, registration: SharedSecretRegistration, server_name: str) -> None:
        self._registration = registration
        self._server_name = server_name

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("GET", PATH, self.nonce),
            door.public("POST", PATH, self.register, body_limit=SMALL_BODY),
        ]

    async def nonce(self, request: Request) -> Result:
        return {"nonce": self._registration.nonce()}

    async def register(self, request: Request) -> Result:
        body = await request.json_object()
        if text(body, "user_type") is not None:
            raise BadRequest("There are no types of users here: leave user_type out")
        registered = await self._registration.register(
            required_text(body, "nonce"),
            required_text(body, "username"),
            required_text(body, "password"),
            required_text(body, "mac"),
            admin=flag(body, "admin", False),
            displayname=text(body, "displayname"),
        )
        if registered.session is None:
            raise BrokenInvariant("registration by shared secret always logs in")
        return session_content(registered.session) | {"home_server": self._server_name}
