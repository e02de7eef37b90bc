"""One's own account: who one is, another password, the end of it.

https://spec.matrix.org/v1.19/client-server-api/#account-management
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.credentials import Credentials
from clients.endpoints.login import SMALL_BODY
from clients.interactive import Interactive
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.deactivation import Deactivation
from homeserver.services.accounts.interactive import PASSWORD
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.requester import Requester

V3 = "/_matrix/client/v3/account"
FLOWS = ((PASSWORD,),)


class Account:
    def __init__(
        self, passwords: Passwords, deactivation: Deactivation, credentials: Credentials, interactive: Interactive
    ) -> None:
        self._passwords = passwords
        self._deactivation = deactivation
        self._credentials = credentials
        self._interactive = interactive

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", f"{V3}/whoami", self.whoami),
            door.optional(
                "POST",
                f"{V3}/password",
                self.change_password,
                limit="login_address",
                also=("login_failures",),
                body_limit=SMALL_BODY,
            ),
            door.optional(
                "POST",
                f"{V3}/deactivate",
                self.deactivate,
                limit="login_address",
                also=("login_failures",),
                body_limit=SMALL_BODY,
            ),
        ]

    async def whoami(self, request: Request, requester: Requester) -> Result:
        return {"user_id": requester.user_id, "device_id": requester.device_id, "is_guest": requester.is_guest}

    async def change_password(self, request: Request, requester: Requester | None) -> Result:
        body = await request.json_object()
        password, log_out = required_text(body, "new_password"), flag(body, "logout_devices", True)
        self._passwords.check_strength(password)
        authorized = await self._interactive.authorize(
            _named("password", requester), body, FLOWS, {PASSWORD: self._credentials.stage(requester)}
        )
        if isinstance(authorized, Answer):
            return authorized
        keep = None if requester is None else requester.device_id
        user_id = authorized.details["user_id"]
        await self._passwords.change(user_id, password, authorized, log_out=log_out, keep_device=keep)
        return {}

    async def deactivate(self, request: Request, requester: Requester | None) -> Result:
        body = await request.json_object()
        erase = flag(body, "erase", False)
        text(body, "id_server")
        authorized = await self._interactive.authorize(
            _named("deactivate", requester), body, FLOWS, {PASSWORD: self._credentials.stage(requester)}
        )
        if isinstance(authorized, Answer):
            return authorized
        await self._deactivation.deactivate(authorized.details["user_id"], authorized, erase=erase)
        # "This must be `success` if the homeserver has no identifiers to unbind for the user."
        return {"id_server_unbind_result": "success"}


def _named(operation: str, requester: Requester | None) -> str:
    return operation if requester is None else f"{operation} {requester.user_id}"
