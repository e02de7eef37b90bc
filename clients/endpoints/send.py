"""Sending messages and redactions.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
https://spec.matrix.org/v1.19/client-server-api/#redactions
"""

from clients.authentication import Door, Result
from clients.endpoints.bodies import text
from clients.endpoints.parameters import event_id, refuse_suspended, room_id, transaction_id
from clients.limits import Limits
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import send

ROOM = "/_matrix/client/v3/rooms/{room_id}"


class Send:
    def __init__(self, events: send.Send, limits: Limits) -> None:
        self._events = events
        self._limits = limits

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user(
                "PUT", f"{ROOM}/send/{{event_type}}/{{txn_id}}", self.send, limit="messages", also=("messages_room",)
            ),
            door.user("PUT", f"{ROOM}/redact/{{event_id}}/{{txn_id}}", self.redact, limit="messages"),
        ]

    async def send(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, txn_id, type = room_id(request), transaction_id(request), request.parameters["event_type"]
        content = await request.json_object()
        with self._limits.hold("messages_room", room) as held:
            sent = await self._events.message(requester.user_id, requester.device_id, room, type, txn_id, content)
            held.spend()
        return {"event_id": sent}

    async def redact(self, request: Request, requester: Requester) -> Result:
        room, txn_id, target = room_id(request), transaction_id(request), event_id(request)
        body = await request.json_object()
        text(body, "reason")
        content = {key: value for key, value in body.items() if key != "redacts"}
        sent = await self._events.redaction(
            requester.user_id,
            requester.device_id,
            room,
            target,
            txn_id,
            content,
            own_only=requester.is_suspended,
        )
        return {"event_id": sent}
