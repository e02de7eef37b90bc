"""Where calls find a relay.

https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip
"""

from clients.authentication import Door, Result
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.turn import TurnServer


class Voip:
    """`turn` is None if the operator has no TURN server."""

    def __init__(self, turn: TurnServer | None) -> None:
        self._turn = turn

    def routes(self, door: Door) -> list[Route]:
        return [door.user("GET", "/_matrix/client/v3/voip/turnServer", self.turn_server, limit="turn_server")]

    async def turn_server(self, request: Request, requester: Requester) -> Result:
        if self._turn is None:
            # NOTSPEC: all members are required, and the spec has no word for a server without TURN. Clients take this
            # for "none", whereas an empty list of URIs makes browsers refuse to call at all.
            return {}
        made = self._turn.credentials(requester.user_id)
        return {"username": made.username, "password": made.password, "uris": list(made.uris), "ttl": made.lifetime}
