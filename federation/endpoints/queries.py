"""Questions about what this server keeps: where an alias leads, the profile of a user, the rooms of a space.

https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
https://spec.matrix.org/v1.19/server-server-api/#spaces
"""

import orjson

from federation.authentication import Peer, PeerDoor, Result
from federation.endpoints.parameters import room_id
from homeserver.domain.errors import BadRequest, NotFound
from homeserver.domain.identifiers import is_room_alias, is_user_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.profile import Profiles
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.remote.serving_spaces import ServingSpaces

V1 = "/_matrix/federation/v1"


class Queries:
    def __init__(self, aliases: Aliases, profiles: Profiles, spaces: ServingSpaces) -> None:
        self._aliases = aliases
        self._profiles = profiles
        self._spaces = spaces

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed("GET", f"{V1}/query/directory", self.directory),
            door.signed("GET", f"{V1}/query/profile", self.profile),
            door.signed("GET", f"{V1}/hierarchy/{{room_id}}", self.hierarchy),
        ]

    async def directory(self, request: Request, peer: Peer) -> Result:
        alias = request.required("room_alias")
        if not is_room_alias(alias):
            raise BadRequest("room_alias is not a room alias")
        found = await self._aliases.resolve_local(alias)
        if found is None:
            raise NotFound("Room alias not found")
        return {"room_id": found.room_id, "servers": list(found.servers)}

    async def profile(self, request: Request, peer: Peer) -> Result:
        user_id, field = request.required("user_id"), request.text("field")
        if not is_user_id(user_id):
            raise BadRequest("user_id is not a user id")
        fields = await self._profiles.list_fields(user_id)
        if field is not None:
            # "If the user does not have a particular field set [...], the server MUST either exclude it [...]"
            fields = {field: fields[field]} if field in fields else {}
        # The values are JSON already, as they were set.
        members = (orjson.dumps(key) + b":" + content.encode() for key, content in fields.items())
        return Answer(body=b"{" + b",".join(members) + b"}")

    async def hierarchy(self, request: Request, peer: Peer) -> Result:
        suggested_only = request.boolean("suggested_only", False)
        return await self._spaces.hierarchy(peer.origin, room_id(request), suggested_only=suggested_only)
