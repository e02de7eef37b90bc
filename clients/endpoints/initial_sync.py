"""Looking at one room as a whole, and at single events by their id alone: endpoints from before /sync.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from clients.authentication import Door, Result
from clients.endpoints.parameters import event_id, room_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import initial_sync

V3 = "/_matrix/client/v3"


class InitialSync:
    def __init__(self, rooms: initial_sync.InitialSync) -> None:
        self._rooms = rooms

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", f"{V3}/rooms/{{room_id}}/initialSync", self.room, limit="history"),
            door.user("GET", f"{V3}/events/{{event_id}}", self.event),
        ]

    async def room(self, request: Request, requester: Requester) -> Result:
        return Answer(body=await self._rooms.room(requester.user_id, requester.device_id, room_id(request)))

    async def event(self, request: Request, requester: Requester) -> Result:
        return Answer(body=await self._rooms.event(requester.user_id, requester.device_id, event_id(request)))
