"""Third-party networks: this server has no application service that leads to any, so there is nothing to be found.

https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
"""

from clients.authentication import Door, Result
from homeserver.domain.errors import NotFound
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester

THIRD_PARTY = "/_matrix/client/v3/thirdparty"


class ThirdParty:
    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", f"{THIRD_PARTY}/protocols", self.protocols),
            door.user("GET", f"{THIRD_PARTY}/protocol/{{protocol}}", self.of_protocol),
            door.user("GET", f"{THIRD_PARTY}/location/{{protocol}}", self.of_protocol),
            door.user("GET", f"{THIRD_PARTY}/user/{{protocol}}", self.of_protocol),
            door.user("GET", f"{THIRD_PARTY}/location", self.locations),
            door.user("GET", f"{THIRD_PARTY}/user", self.users),
        ]

    async def protocols(self, request: Request, requester: Requester) -> Result:
        return {}

    async def of_protocol(self, request: Request, requester: Requester) -> Result:
        raise NotFound("This protocol is not known here")

    async def locations(self, request: Request, requester: Requester) -> Result:
        request.required("alias")
        return Answer(body=b"[]")

    async def users(self, request: Request, requester: Requester) -> Result:
        request.required("userid")
        return Answer(body=b"[]")
