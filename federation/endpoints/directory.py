"""The rooms that this server publishes, as other servers look through them.

https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
"""

from typing import Any

from federation.authentication import Peer, PeerDoor, Result
from federation.endpoints.parameters import integer, text
from homeserver.domain.errors import BadRequest
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.rooms.directory import MAX_LIMIT, MAX_TERM, DirectoryQuery, RoomDirectory

PATH = "/_matrix/federation/v1/publicRooms"
BODY_LIMIT = 64 * 1024
MAX_TYPES = 50


class Directory:
    def __init__(self, directory: RoomDirectory) -> None:
        self._directory = directory

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed("GET", PATH, self.list_rooms),
            door.signed_body("POST", PATH, self.search, body_limit=BODY_LIMIT),
        ]

    async def list_rooms(self, request: Request, peer: Peer) -> Result:
        query = DirectoryQuery(
            limit=request.integer("limit", 0, maximum=MAX_LIMIT),
            since=request.text("since"),
            all_networks=request.boolean("include_all_networks", False),
            network=request.text("third_party_instance_id"),
        )
        return await self._directory.page(query)

    async def search(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        filter = body.get("filter")
        if filter is None:
            filter = {}
        if not isinstance(filter, dict):
            raise BadRequest("filter must be an object", "M_BAD_JSON")
        query = DirectoryQuery(
            limit=integer(body, "limit", 0),
            since=text(body, "since"),
            term=_term(filter),
            room_types=_room_types(filter),
            all_networks=body.get("include_all_networks") is True,
            network=text(body, "third_party_instance_id"),
        )
        return await self._directory.page(query)


def _term(filter: dict[str, Any]) -> str | None:
    term = text(filter, "generic_search_term")
    if term is not None and len(term) > MAX_TERM:
        raise BadRequest(f"generic_search_term has more than {MAX_TERM} characters")
    return term


def _room_types(filter: dict[str, Any]) -> tuple[str | None, ...] | None:
    types = filter.get("room_types")
    if types is None:
        return None
    if not isinstance(types, list) or not all(one is None or isinstance(one, str) for one in types):
        raise BadRequest("room_types must be a list of strings and null", "M_BAD_JSON")
    return tuple(types[:MAX_TYPES])
