"""Jumping to a date.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from clients.authentication import Door, Result
from clients.endpoints.parameters import room_id
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import timestamps


class Timestamps:
    def __init__(self, timestamps: timestamps.Timestamps) -> None:
        self._timestamps = timestamps

    def routes(self, door: Door) -> list[Route]:
        path = "/_matrix/client/v1/rooms/{room_id}/timestamp_to_event"
        return [door.user("GET", path, self.closest, limit="timestamps")]

    async def closest(self, request: Request, requester: Requester) -> Result:
        request.required("ts")
        request.required("dir")
        ts, direction = request.integer("ts", 0), request.choice("dir", ("b", "f"), "")
        event_id, found = await self._timestamps.closest(requester.user_id, room_id(request), ts, direction == "b")
        return {"event_id": event_id, "origin_server_ts": found}
