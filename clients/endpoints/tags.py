"""The tags that users give to rooms.

https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from clients.authentication import Door, Result
from clients.endpoints.parameters import room_id
from homeserver.domain.errors import Forbidden
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.accounts.tags import RoomTags

ALL = "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/tags"
ONE = ALL + "/{tag}"


class Tags:
    def __init__(self, tags: RoomTags) -> None:
        self._tags = tags

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", ALL, self.get),
            door.user("PUT", ONE, self.set, limit="account_data"),
            door.user("DELETE", ONE, self.remove, limit="account_data"),
        ]

    async def get(self, request: Request, requester: Requester) -> Result:
        return {"tags": await self._tags.list_tags(requester.user_id, _own_room(request, requester))}

    async def set(self, request: Request, requester: Requester) -> Result:
        room, content = _own_room(request, requester), await request.json_object()
        await self._tags.set_tag(requester.user_id, room, request.parameters["tag"], content)
        return {}

    async def remove(self, request: Request, requester: Requester) -> Result:
        room = _own_room(request, requester)
        await self._tags.remove_tag(requester.user_id, room, request.parameters["tag"])
        return {}


def _own_room(request: Request, requester: Requester) -> str:
    if request.parameters["user_id"] != requester.user_id:
        raise Forbidden("These are somebody else's tags")
    return room_id(request)
