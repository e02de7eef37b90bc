"""Reading what was said in a room: pages of history, single events, and what stands around an event.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
https://spec.matrix.org/v1.19/client-server-api/#event-context
"""

from clients.authentication import Door, Result
from clients.endpoints.parameters import event_filter, room_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import history, pages

ROOM = "/_matrix/client/v3/rooms/{room_id}"
DEFAULT_CONTEXT = 10


class History:
    def __init__(self, history: history.History) -> None:
        self._history = history

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", f"{ROOM}/messages", self.messages, limit="history"),
            door.user("GET", f"{ROOM}/event/{{event_id}}", self.event),
            door.user("GET", f"{ROOM}/context/{{event_id}}", self.context, limit="history"),
        ]

    async def messages(self, request: Request, requester: Requester) -> Result:
        request.required("dir")
        direction, filter = request.choice("dir", ("b", "f"), ""), event_filter(request)
        wanted = pages.PageRequest(
            room_id=room_id(request),
            start=request.text("from"),
            stop=request.text("to"),
            backwards=direction == "b",
            limit=request.integer("limit", filter.limit, minimum=1, maximum=pages.MAX_LIMIT),
            filter=filter,
        )
        return Answer(body=await self._history.page(requester.user_id, requester.device_id, wanted))

    async def event(self, request: Request, requester: Requester) -> Result:
        room, event_id = room_id(request), request.parameters["event_id"]
        return Answer(body=await self._history.event(requester.user_id, requester.device_id, room, event_id))

    async def context(self, request: Request, requester: Requester) -> Result:
        limit = request.integer("limit", DEFAULT_CONTEXT, maximum=pages.MAX_LIMIT)
        found = await self._history.context(
            requester.user_id,
            requester.device_id,
            room_id(request),
            request.parameters["event_id"],
            limit,
            event_filter(request),
        )
        return Answer(body=found)
