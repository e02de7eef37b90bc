"""What clients keep with us for a user.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from clients.authentication import Door, Result
from homeserver.domain.errors import Forbidden
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.data import AccountData as Data
from homeserver.services.accounts.requester import Requester

WHOLE = "/_matrix/client/v3/user/{user_id}/account_data/{type}"
OF_ROOM = "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/account_data/{type}"


class AccountData:
    def __init__(self, data: Data) -> None:
        self._data = data

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", WHOLE, self.get),
            door.user("PUT", WHOLE, self.set, limit="account_data"),
            door.user("GET", OF_ROOM, self.get),
            door.user("PUT", OF_ROOM, self.set, limit="account_data"),
        ]

    async def get(self, request: Request, requester: Requester) -> Result:
        asked = request.parameters
        _check_own(asked["user_id"], requester)
        content = await self._data.get(requester.user_id, asked["type"], asked.get("room_id"))
        return Answer(body=content.encode())

    async def set(self, request: Request, requester: Requester) -> Result:
        asked = request.parameters
        _check_own(asked["user_id"], requester)
        content = await request.json_object()
        await self._data.set(requester.user_id, asked["type"], content, asked.get("room_id"))
        return {}


def _check_own(user_id: str, requester: Requester) -> None:
    if user_id != requester.user_id:
        raise Forbidden("This is somebody else's account data")
