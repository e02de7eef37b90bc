"""Telling the administrators about rooms, events and users.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import required_text, text
from clients.endpoints.parameters import event_id, room_id
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_user_id
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import reports

V3 = "/_matrix/client/v3"


class Reports:
    def __init__(self, reports: reports.Reports) -> None:
        self._reports = reports

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("POST", f"{V3}/rooms/{{room_id}}/report", self.room, limit="reports"),
            door.user("POST", f"{V3}/rooms/{{room_id}}/report/{{event_id}}", self.event, limit="reports"),
            door.user("POST", f"{V3}/users/{{user_id}}/report", self.user, limit="reports"),
        ]

    async def room(self, request: Request, requester: Requester) -> Result:
        room, reason = room_id(request), required_text(await request.json_object(), "reason")
        await self._reports.report_room(requester.user_id, room, reason)
        return {}

    async def event(self, request: Request, requester: Requester) -> Result:
        room, event = room_id(request), event_id(request)
        reason = text(await request.json_object_or_empty(), "reason")
        await self._reports.report_event(requester.user_id, room, event, reason or "")
        return {}

    async def user(self, request: Request, requester: Requester) -> Result:
        user_id, reason = request.parameters["user_id"], required_text(await request.json_object(), "reason")
        if not is_user_id(user_id):
            raise BadRequest("This is not a user id")
        await self._reports.report_user(requester.user_id, user_id, reason)
        return {}
