"""Registration by whoever knows the operator's secret: provisioning tools use it, in the form that Synapse gave it.

https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

from homeserver.domain.errors import BadRequest
from homeserver.services.accounts.operator_secret import OperatorSecret
from homeserver.services.accounts.registration import Registered, Registration


class SharedSecretRegistration:
    def __init__(self, registration: Registration, secret: OperatorSecret) -> None:
        self._registration = registration
        self._secret = secret

    def nonce(self) -> str:
        return self._secret.nonce()

    async def register(
        self, nonce: str, username: str, password: str, mac: str, *, admin: bool, displayname: str | None = None
    ) -> Registered:
        """A new account, logged in, whatever the policy. Raises BadRequest and Forbidden, LimitExceeded."""
        if "\0" in username or "\0" in password:
            raise BadRequest("Neither the user name nor the password may contain U+0000")
        self._secret.spend(nonce, mac, username, password, "admin" if admin else "notadmin")
        user_id = await self._registration.free_user_id(username)
        return await self._registration.register(user_id, password, admin=admin, displayname=displayname)
