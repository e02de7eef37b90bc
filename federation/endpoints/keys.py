"""Signing keys: ours, and as a notary those of others.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Mapping
from typing import Any

from federation.authentication import PeerDoor
from federation.notary import MAX_SERVERS, Notary
from federation.own_keys import OwnKeys
from homeserver.domain.canonical import MAX_INTEGER
from homeserver.domain.errors import BadRequest
from homeserver.http.request import Request
from homeserver.http.routing import Route


class Keys:
    def __init__(self, own_keys: OwnKeys, notary: Notary) -> None:
        self._own_keys = own_keys
        self._notary = notary

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.public("GET", "/_matrix/key/v2/server", self.server),
            door.public("GET", "/_matrix/key/v2/query/{server_name}", self.query_one),
            door.public("POST", "/_matrix/key/v2/query", self.query),
        ]

    async def server(self, request: Request) -> Mapping[str, Any]:
        return self._own_keys.document()

    async def query_one(self, request: Request) -> Mapping[str, Any]:
        until = request.integer("minimum_valid_until_ts", None)
        wanted = {request.parameters["server_name"]: until}
        return {"server_keys": await self._notary.query(wanted, request.remote)}

    async def query(self, request: Request) -> Mapping[str, Any]:
        wanted = _criteria((await request.json_object()).get("server_keys"))
        return {"server_keys": await self._notary.query(wanted, request.remote)}


def _criteria(servers: object) -> dict[str, int | None]:
    """Until when the keys of each server should be valid; None: now.

    "The notary server may return multiple keys regardless of the Key IDs given": an answer holds all keys anyway.
    """
    if not isinstance(servers, dict):
        raise BadRequest("server_keys must be an object", "M_BAD_JSON")
    if len(servers) > MAX_SERVERS:
        raise BadRequest(f"At most {MAX_SERVERS} servers can be asked about at once", "M_INVALID_PARAM")
    wanted: dict[str, int | None] = {}
    for server, criteria in servers.items():
        if not isinstance(criteria, dict) or not all(isinstance(one, dict) for one in criteria.values()):
            raise BadRequest("The criteria of a server must be objects by key id", "M_BAD_JSON")
        times = [one["minimum_valid_until_ts"] for one in criteria.values() if "minimum_valid_until_ts" in one]
        if not all(isinstance(ts, int) and not isinstance(ts, bool) and abs(ts) <= MAX_INTEGER for ts in times):
            raise BadRequest("minimum_valid_until_ts must be an integer")
        wanted[server] = max(times, default=None)
    return wanted
