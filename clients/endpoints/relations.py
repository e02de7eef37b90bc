"""The relations of events, and the threads of a room.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api
https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room
"""

from clients.authentication import Door, Result
from clients.endpoints.parameters import room_id
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import fits
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms import relations, threads

ROOM = "/_matrix/client/v1/rooms/{room_id}"
RELATIONS = f"{ROOM}/relations/{{event_id}}"
# COMPAT: what clients ask a server that does not say version 1.10 of the spec.
UNSTABLE_RECURSE = "org.matrix.msc3981.recurse"


class Relations:
    def __init__(self, relations: relations.Relations, threads: threads.Threads) -> None:
        self._relations = relations
        self._threads = threads

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", RELATIONS, self.relations, limit="history"),
            door.user("GET", f"{RELATIONS}/{{rel_type}}", self.relations, limit="history"),
            door.user("GET", f"{RELATIONS}/{{rel_type}}/{{event_type}}", self.relations, limit="history"),
            door.user("GET", f"{ROOM}/threads", self.threads, limit="history"),
        ]

    async def relations(self, request: Request, requester: Requester) -> Result:
        recurse = "recurse" if request.text("recurse") is not None else UNSTABLE_RECURSE
        wanted = relations.RelationsRequest(
            room_id=room_id(request),
            event_id=request.parameters["event_id"],
            rel_type=_kind(request, "rel_type"),
            type=_kind(request, "event_type"),
            start=request.text("from"),
            stop=request.text("to"),
            backwards=request.choice("dir", ("b", "f"), "b") == "b",
            limit=request.integer("limit", relations.DEFAULT_LIMIT, minimum=1, maximum=relations.MAX_LIMIT),
            recurse=None if request.text(recurse) is None else request.boolean(recurse, False),
        )
        return Answer(body=await self._relations.page(requester.user_id, requester.device_id, wanted))

    async def threads(self, request: Request, requester: Requester) -> Result:
        wanted = threads.ThreadsRequest(
            room_id=room_id(request),
            start=request.text("from"),
            participated=request.choice("include", ("all", "participated"), "all") == "participated",
            limit=request.integer("limit", threads.DEFAULT_LIMIT, minimum=1, maximum=threads.MAX_LIMIT),
        )
        return Answer(body=await self._threads.page(requester.user_id, requester.device_id, wanted))


def _kind(request: Request, name: str) -> str | None:
    """A type in the path, if the path has it. Raises BadRequest for what can be none."""
    value = request.parameters.get(name)
    if value is not None and not fits(value):
        raise BadRequest(f"{name} has more than 255 bytes, or NUL")
    return value
