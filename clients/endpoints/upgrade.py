"""Replacing a room by one of another version.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import required_text
from clients.endpoints.parameters import json_list, refuse_suspended, room_id
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_user_id
from homeserver.domain.versions import room_version
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import upgrade


class Upgrade:
    def __init__(self, upgrade: upgrade.Upgrade) -> None:
        self._upgrade = upgrade

    def routes(self, door: Door) -> list[Route]:
        path = "/_matrix/client/v3/rooms/{room_id}/upgrade"
        return [door.user("POST", path, self.upgrade, limit="room_creation")]

    async def upgrade(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, body = room_id(request), await request.json_object()
        version = room_version(required_text(body, "new_version"))
        additional: list[str] = []
        if version.privileged_creators:
            additional = json_list(body, "additional_creators", upgrade.MAX_CREATORS)
            if not all(is_user_id(one) for one in additional):
                raise BadRequest("additional_creators is a list of user ids")
        return {"replacement_room": await self._upgrade(requester.user_id, room, version, additional)}
