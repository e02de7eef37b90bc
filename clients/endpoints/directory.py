"""Room aliases and the room directory.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from collections.abc import Mapping
from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.parameters import integer, json_list, json_object, refuse_suspended, room_id
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_room_alias, is_room_id
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.directory import DEFAULT_LIMIT, MAX_TERM, DirectoryQuery, RoomDirectory

V3 = "/_matrix/client/v3"
ALIAS = V3 + "/directory/room/{room_alias}"
VISIBILITY = V3 + "/directory/list/room/{room_id}"
MAX_ROOM_TYPES = 100


class Directory:
    def __init__(self, aliases: Aliases, directory: RoomDirectory) -> None:
        self._aliases = aliases
        self._directory = directory

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("GET", ALIAS, self.get_alias),
            door.user("PUT", ALIAS, self.set_alias, limit="aliases"),
            door.user("DELETE", ALIAS, self.remove_alias, limit="aliases"),
            door.user("GET", f"{V3}/rooms/{{room_id}}/aliases", self.list_aliases),
            door.public("GET", VISIBILITY, self.get_visibility),
            door.user("PUT", VISIBILITY, self.set_visibility, limit="aliases"),
            door.public("GET", f"{V3}/publicRooms", self.list_rooms),
            door.user("POST", f"{V3}/publicRooms", self.query_rooms),
        ]

    async def get_alias(self, request: Request) -> Result:
        found = await self._aliases.resolve(_alias(request))
        return {"room_id": found.room_id, "servers": list(found.servers)}

    async def set_alias(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        alias, room = _alias(request), required_text(await request.json_object(), "room_id")
        if not is_room_id(room):
            raise BadRequest("room_id is not a room id")
        await self._aliases.add(requester.user_id, alias, room)
        return {}

    async def remove_alias(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        await self._aliases.remove(requester.user_id, _alias(request), is_admin=requester.is_admin)
        return {}

    async def list_aliases(self, request: Request, requester: Requester) -> Result:
        return {"aliases": await self._aliases.list_local(requester.user_id, room_id(request))}

    async def get_visibility(self, request: Request) -> Result:
        return {"visibility": "public" if await self._directory.is_published(room_id(request)) else "private"}

    async def set_visibility(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, visibility = room_id(request), text(await request.json_object(), "visibility") or "public"
        if visibility not in ("public", "private"):
            raise BadRequest("visibility must be public or private")
        await self._directory.publish(requester.user_id, room, visibility == "public", is_admin=requester.is_admin)
        return {}

    async def list_rooms(self, request: Request) -> Result:
        query = DirectoryQuery(request.integer("limit", DEFAULT_LIMIT), request.text("since"))
        return await self._directory.page(query, request.text("server"))

    async def query_rooms(self, request: Request, requester: Requester) -> Result:
        query = _query(await request.json_object_or_empty())
        return await self._directory.page(query, request.text("server"))


def _alias(request: Request) -> str:
    value = request.parameters["room_alias"]
    if not is_room_alias(value):
        raise BadRequest("This is not a room alias")
    return value


def _query(body: Mapping[str, Any]) -> DirectoryQuery:
    filter = json_object(body, "filter")
    term = text(filter, "generic_search_term")
    if term is not None and len(term) > MAX_TERM:
        raise BadRequest(f"generic_search_term has more than {MAX_TERM} characters")
    types = json_list(filter, "room_types", MAX_ROOM_TYPES)
    if not all(isinstance(one, str | None) for one in types):
        raise BadRequest("room_types is a list of strings and null", "M_BAD_JSON")
    network, all_networks = text(body, "third_party_instance_id"), flag(body, "include_all_networks", False)
    if network is not None and all_networks:
        raise BadRequest("third_party_instance_id can only be used if include_all_networks is false")
    return DirectoryQuery(
        limit=integer(body, "limit", DEFAULT_LIMIT),
        since=text(body, "since"),
        term=term,
        room_types=None if filter.get("room_types") is None else tuple(types),
        all_networks=all_networks,
        network=network,
    )
