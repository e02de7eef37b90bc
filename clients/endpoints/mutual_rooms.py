"""The rooms that somebody shares with another user.

https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

from clients.authentication import Door, Result
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import mutual_rooms

STABLE = "/_matrix/client/v1/mutual_rooms"
# COMPAT: what Element Web calls; it is asked for by `uk.half-shot.msc2666.query_mutual_rooms` of /versions.
UNSTABLE = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


class MutualRooms:
    def __init__(self, rooms: mutual_rooms.MutualRooms) -> None:
        self._rooms = rooms

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", STABLE, self.get, limit="mutual_rooms"),
            door.user("GET", UNSTABLE, self.get_old, limit="mutual_rooms"),
        ]

    async def get(self, request: Request, requester: Requester) -> Result:
        page = await self._rooms.page(requester.user_id, request.required("user_id"), request.text("from"))
        answer = {"joined": page.joined, "count": page.count}
        return answer if page.next_batch is None else {**answer, "next_batch": page.next_batch}

    async def get_old(self, request: Request, requester: Requester) -> Result:
        start = request.text("batch_token")
        page = await self._rooms.page(requester.user_id, request.required("user_id"), start)
        answer = {"joined": page.joined, "count": page.count}
        return answer if page.next_batch is None else {**answer, "next_batch_token": page.next_batch}
