"""Making an account.

https://spec.matrix.org/v1.19/client-server-api/#account-registration
"""

from collections.abc import Mapping
from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.login import SMALL_BODY, session_content
from clients.interactive import Interactive
from clients.limits import Limits
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.guests import Guests
from homeserver.services.accounts.interactive import DUMMY, REGISTRATION_TOKEN
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.registration import Registration

V3 = "/_matrix/client/v3/register"


class Register:
    def __init__(
        self,
        registration: Registration,
        guests: Guests,
        passwords: Passwords,
        interactive: Interactive,
        limits: Limits,
    ) -> None:
        self._registration = registration
        self._guests = guests
        self._passwords = passwords
        self._interactive = interactive
        self._limits = limits

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("POST", V3, self.register, also=("registration",), body_limit=SMALL_BODY),
            door.public("GET", f"{V3}/available", self.available, limit="registration_names"),
            # "Servers should be sure to rate limit this endpoint to avoid brute force attacks."
            door.public(
                "GET",
                "/_matrix/client/v1/register/m.login.registration_token/validity",
                self.token_validity,
                limit="registration",
            ),
        ]

    async def register(self, request: Request) -> Result:
        if request.choice("kind", ("user", "guest"), "user") == "guest":
            return await self._register_guest(request)
        body = await request.json_object()
        flows = self._registration.flows
        username, password = text(body, "username"), text(body, "password")
        guest_token = text(body, "guest_access_token")
        # "Homeservers MUST perform the relevant checks and return these codes before performing User-Interactive
        # Authentication". Clients learn the flows by asking with nothing.
        if guest_token is None:
            user_id = await self._registration.free_user_id(username)
        else:
            # "They are also required to specify the `username` parameter".
            user_id = await self._guests.find(guest_token, required_text(body, "username"))
        if password is not None:
            self._passwords.check_strength(password)
        if body.get("auth") is not None:
            self._limits.take("registration", request.remote)
        stages = {DUMMY: _dummy, REGISTRATION_TOKEN: self._token}
        authorized = await self._interactive.authorize("register", body, flows, stages)
        if isinstance(authorized, Answer):
            return authorized
        password, log_in = required_text(body, "password"), not flag(body, "inhibit_login", False)
        device_id, device_name = text(body, "device_id"), text(body, "initial_device_display_name")
        if guest_token is None:
            registered = await self._registration.register(
                user_id, password, authorized, log_in=log_in, device_id=device_id, device_name=device_name
            )
        else:
            registered = await self._guests.upgrade(
                guest_token, user_id, password, authorized, log_in=log_in, device_id=device_id, device_name=device_name
            )
        if registered.session is None:
            return {"user_id": registered.user_id}
        return session_content(registered.session)

    async def _register_guest(self, request: Request) -> Result:
        """ "All parameters in the request body with the exception of `initial_device_display_name` MUST BE ignored"."""
        self._guests.check_allowed()
        self._limits.take("registration", request.remote)
        body = await request.json_object_or_empty()
        return session_content(await self._guests.register(text(body, "initial_device_display_name")))

    async def available(self, request: Request) -> Result:
        await self._registration.is_available(request.required("username"))
        return {"available": True}

    async def token_validity(self, request: Request) -> Result:
        return {"valid": await self._registration.is_token_usable(request.required("token"))}

    async def _token(self, auth: Mapping[str, Any]) -> Mapping[str, str]:
        return await self._registration.check_token(required_text(auth, "token"))


async def _dummy(auth: Mapping[str, Any]) -> Mapping[str, str]:
    """ "Dummy authentication always succeeds and requires no extra parameters." """
    return {}
