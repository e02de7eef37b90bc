"""Filters that are uploaded once.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from clients.authentication import Door, Result
from homeserver.domain.errors import Forbidden
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.filters import MAX_FILTER_BYTES
from homeserver.services.accounts.filters import Filters as Uploaded
from homeserver.services.accounts.requester import Requester


class Filters:
    def __init__(self, filters: Uploaded) -> None:
        self._filters = filters

    def routes(self, door: Door) -> list[Route]:
        path = "/_matrix/client/v3/user/{user_id}/filter"
        return [
            door.user("POST", path, self.add, limit="filters", body_limit=2 * MAX_FILTER_BYTES),
            door.user("GET", path + "/{filter_id}", self.get),
        ]

    async def add(self, request: Request, requester: Requester) -> Result:
        _check_own(request, requester)
        return {"filter_id": await self._filters.add(requester.user_id, await request.json_object())}

    async def get(self, request: Request, requester: Requester) -> Result:
        _check_own(request, requester)
        definition = await self._filters.get(requester.user_id, request.parameters["filter_id"])
        return Answer(body=definition.encode())


def _check_own(request: Request, requester: Requester) -> None:
    if request.parameters["user_id"] != requester.user_id:
        raise Forbidden("These are somebody else's filters")
