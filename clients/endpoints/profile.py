"""Profiles: everybody reads them, everybody changes their own.

https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

import orjson

from clients.authentication import Door, Result
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_user_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.profile import Profiles
from homeserver.services.accounts.requester import Requester

WHOLE = "/_matrix/client/v3/profile/{user_id}"
FIELD = "/_matrix/client/v3/profile/{user_id}/{key}"
# A profile is smaller; above it nobody needs to parse anything.
BODY_LIMIT = 128 * 1024


class Profile:
    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("GET", WHOLE, self.get),
            door.public("GET", FIELD, self.get_field),
            door.user("PUT", FIELD, self.set_field, limit="profile", body_limit=BODY_LIMIT),
            door.user("DELETE", FIELD, self.remove_field, limit="profile"),
        ]

    async def get(self, request: Request) -> Result:
        return _fields(await self._profiles.ask(_user_id(request), None))

    async def get_field(self, request: Request) -> Result:
        return _fields(await self._profiles.ask(_user_id(request), request.parameters["key"]))

    async def set_field(self, request: Request, requester: Requester) -> Result:
        body, key = await request.json_object(), request.parameters["key"]
        if key not in body:
            raise BadRequest(f"{key} is missing", "M_MISSING_PARAM")
        await self._profiles.set_field(requester, _user_id(request), key, body[key])
        return {}

    async def remove_field(self, request: Request, requester: Requester) -> Result:
        await self._profiles.remove_field(requester, _user_id(request), request.parameters["key"])
        return {}


def _user_id(request: Request) -> str:
    user_id = request.parameters["user_id"]
    if not is_user_id(user_id):
        raise BadRequest("This is not a user id")
    return user_id


def _fields(fields: dict[str, str]) -> Answer:
    """The values are JSON already, as they were set: nothing of them is lost in reading and writing them again."""
    members = (orjson.dumps(key) + b":" + content.encode() for key, content in fields.items())
    return Answer(body=b"{" + b",".join(members) + b"}")
