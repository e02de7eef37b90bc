"""Where clients and other servers find this server, if it was told.

https://spec.matrix.org/v1.19/client-server-api/#well-known-uris
https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from clients.authentication import Door, Result
from homeserver.domain.errors import NotFound
from homeserver.http.request import Request
from homeserver.http.routing import Route


class WellKnown:
    """`client_url` is where clients go, `server` is `host:port` for other servers; None: nothing to tell."""

    def __init__(self, client_url: str | None, server: str | None) -> None:
        self._client_url = client_url
        self._server = server

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("GET", "/.well-known/matrix/client", self.client),
            door.public("GET", "/.well-known/matrix/server", self.server),
        ]

    async def client(self, request: Request) -> Result:
        if self._client_url is None:
            raise NotFound("Nothing is said about clients here")
        return {"m.homeserver": {"base_url": self._client_url}}

    async def server(self, request: Request) -> Result:
        if self._server is None:
            raise NotFound("Nothing is said about servers here")
        return {"m.server": self._server}
