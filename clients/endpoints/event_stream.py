"""Hearing of events as clients did before /sync: everything at a glance, and then what comes.

The same path serves two operations of the spec: with `room_id` it tells of one room, which the user need not be in.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

from clients.authentication import Door, Result
from clients.endpoints.sync import MAX_TIMEOUT_MS
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_room_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.sync import event_stream
from homeserver.services.sync.overview import Overview

V3 = "/_matrix/client/v3"
# Of the messages of each room.
DEFAULT_LIMIT, MAX_LIMIT = 20, 100


class EventStream:
    def __init__(self, stream: event_stream.EventStream, overview: Overview) -> None:
        self._stream = stream
        self._overview = overview

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", f"{V3}/events", self.events),
            door.user("GET", f"{V3}/initialSync", self.initial_sync, limit="history"),
        ]

    async def events(self, request: Request, requester: Requester) -> Result:
        room_id = request.text("room_id")
        if room_id is not None and not is_room_id(room_id):
            raise BadRequest("room_id is not a room id")
        listener = event_stream.Listener(requester.user_id, requester.device_id, room_id)
        timeout = request.integer("timeout", 0, maximum=MAX_TIMEOUT_MS) / 1000
        return Answer(body=await self._stream(listener, request.text("from"), timeout))

    async def initial_sync(self, request: Request, requester: Requester) -> Result:
        limit = request.integer("limit", DEFAULT_LIMIT, minimum=1, maximum=MAX_LIMIT)
        archived = request.boolean("archived", False)
        user_id, device_id = requester.user_id, requester.device_id
        return Answer(body=await self._overview(user_id, device_id, self._stream.now(), limit, archived))
