"""Which software this server is.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
"""

from collections.abc import Mapping
from typing import Any

from federation.authentication import PeerDoor
from homeserver.http.request import Request
from homeserver.http.routing import Route


class Version:
    def __init__(self, version: str) -> None:
        self._answer = {"server": {"name": "Parley", "version": version}}

    def routes(self, door: PeerDoor) -> list[Route]:
        return [door.public("GET", "/_matrix/federation/v1/version", self.version)]

    async def version(self, request: Request) -> Mapping[str, Any]:
        return self._answer
