"""Looking at rooms from outside: the summary of one, and the tree of a space.

https://spec.matrix.org/v1.19/client-server-api/#room-summaries
https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.parameters import room_id, room_id_or_alias
from homeserver.domain.identifiers import is_server_name
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms.spaces import DEFAULT_LIMIT, MAX_DEPTH, MAX_LIMIT, HierarchyRequest
from homeserver.services.rooms.spaces import Spaces as Trees
from homeserver.services.rooms.summary import Summaries

V1 = "/_matrix/client/v1"
# COMPAT: matrix-js-sdk asks for summaries under the names of MSC3266, and reads two of its members by them.
UNSTABLE = "/_matrix/client/unstable/im.nheko.summary"
OLD_PATHS = (f"{UNSTABLE}/summary/{{room_id_or_alias}}", f"{UNSTABLE}/rooms/{{room_id_or_alias}}/summary")
OLD_NAMES = {
    "room_version": ("im.nheko.summary.room_version", "im.nheko.summary.version"),
    "encryption": ("im.nheko.summary.encryption",),
}
MAX_VIA = 10


class Spaces:
    def __init__(self, summaries: Summaries, trees: Trees) -> None:
        self._summaries = summaries
        self._trees = trees

    def routes(self, door: Door) -> list[Route]:
        return [
            door.optional("GET", f"{V1}/room_summary/{{room_id_or_alias}}", self.summary),
            *(door.optional("GET", path, self.old_summary) for path in OLD_PATHS),
            door.user("GET", f"{V1}/rooms/{{room_id}}/hierarchy", self.hierarchy, limit="hierarchy"),
        ]

    async def summary(self, request: Request, requester: Requester | None) -> dict[str, Any]:
        via = [one for one in request.query.get("via", ()) if is_server_name(one)][:MAX_VIA]
        user_id = None if requester is None else requester.user_id
        return await self._summaries.get(user_id, room_id_or_alias(request), via)

    async def old_summary(self, request: Request, requester: Requester | None) -> Result:
        summary = await self.summary(request, requester)
        old = {name: summary[key] for key, names in OLD_NAMES.items() if key in summary for name in names}
        return {**summary, **old}

    async def hierarchy(self, request: Request, requester: Requester) -> Result:
        wanted = HierarchyRequest(
            limit=request.integer("limit", DEFAULT_LIMIT, minimum=1, maximum=MAX_LIMIT),
            max_depth=request.integer("max_depth", None, maximum=MAX_DEPTH),
            suggested_only=request.boolean("suggested_only", False),
            start=request.text("from"),
        )
        return await self._trees.hierarchy(requester.user_id, room_id(request), wanted)
