"""What is about messages and is none: who types, and who has read how far.

https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
https://spec.matrix.org/v1.19/client-server-api/#receipts
https://spec.matrix.org/v1.19/client-server-api/#read-and-unread-markers
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, text
from clients.endpoints.parameters import event_id, integer, room_id
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.identifiers import is_event_id
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.messaging.receipts import FULLY_READ, PRIVATE, READ, Receipts
from homeserver.services.messaging.typing import MAX_SECONDS, Typing

ROOM = "/_matrix/client/v3/rooms/{room_id}"
DEFAULT_TYPING_MS = 30_000
MAIN_THREAD = "main"


class Ephemeral:
    def __init__(self, typing: Typing, receipts: Receipts) -> None:
        self._typing = typing
        self._receipts = receipts

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("PUT", f"{ROOM}/typing/{{user_id}}", self.type, limit="typing"),
            door.user("POST", f"{ROOM}/receipt/{{receipt_type}}/{{event_id}}", self.receipt, limit="receipts"),
            door.user("POST", f"{ROOM}/read_markers", self.read_markers, limit="receipts"),
        ]

    async def type(self, request: Request, requester: Requester) -> Result:
        room, body = room_id(request), await request.json_object()
        if request.parameters["user_id"] != requester.user_id:
            raise Forbidden("Nobody types for somebody else")
        if body.get("typing") is None:
            raise BadRequest("typing is missing", "M_MISSING_PARAM")
        typing = flag(body, "typing", False)
        # Bounded before it is divided: JSON knows integers that are no floats.
        seconds = min(integer(body, "timeout", DEFAULT_TYPING_MS), MAX_SECONDS * 1000) / 1000
        await self._typing.set(requester.user_id, room, seconds if typing else 0.0)
        return {}

    async def receipt(self, request: Request, requester: Requester) -> Result:
        room, event, type = room_id(request), event_id(request), request.parameters["receipt_type"]
        body = await request.json_object_or_empty()
        thread = None
        if "thread_id" in body:
            # "thread_id ... is not a string", null included, is an error that the endpoint describes.
            thread = body["thread_id"]
            if not isinstance(thread, str) or not (thread == MAIN_THREAD or is_event_id(thread)):
                raise BadRequest("thread_id must be 'main' or the id of a thread's root")
        await self._receipts.set(requester.user_id, room, {type: event}, thread)
        return {}

    async def read_markers(self, request: Request, requester: Requester) -> Result:
        room, body = room_id(request), await request.json_object()
        given = {type: event for type in (FULLY_READ, READ, PRIVATE) if (event := text(body, type)) is not None}
        for type, event in given.items():
            if not is_event_id(event):
                raise BadRequest(f"{type} is not an event id")
        await self._receipts.set(requester.user_id, room, given, None)
        return {}
