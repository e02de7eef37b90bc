"""Who is online: asked of somebody, and set by oneself.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import required_text, text
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.identifiers import fits, is_user_id
from homeserver.domain.presence import MAX_STATUS_BYTES, PRESENCES
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.messaging.presence import Presence

STATUS = "/_matrix/client/v3/presence/{user_id}/status"


class PresenceStatus:
    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def routes(self, door: Door) -> list[Route]:
        return [door.user("GET", STATUS, self.get), door.user("PUT", STATUS, self.set, limit="presence")]

    async def get(self, request: Request, requester: Requester) -> Result:
        user_id = request.parameters["user_id"]
        if not is_user_id(user_id):
            raise BadRequest("This is not a user id")
        return await self._presence.get(requester.user_id, user_id)

    async def set(self, request: Request, requester: Requester) -> Result:
        body = await request.json_object()
        if request.parameters["user_id"] != requester.user_id:
            raise Forbidden("Nobody is present for somebody else")
        presence, status = required_text(body, "presence"), text(body, "status_msg")
        if presence not in PRESENCES:
            raise BadRequest(f"presence must be one of {', '.join(PRESENCES)}")
        if status is not None and not fits(status, MAX_STATUS_BYTES):
            raise BadRequest(f"status_msg has more than {MAX_STATUS_BYTES} bytes, or NUL in it")
        await self._presence.set(requester.user_id, requester.device_id, presence, status)
        return {}
