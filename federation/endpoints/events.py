"""Events that other servers ask for: by id, by what follows them, by time.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from typing import Any

from federation.acl import RoomAcls
from federation.authentication import Peer, PeerDoor, Result
from federation.endpoints.parameters import event_id, event_ids, integer, room_id
from homeserver.domain.errors import BadRequest
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.rooms.remote.serving import MAX_BACKFILL, Serving

V1 = "/_matrix/federation/v1"
DEFAULT_LIMIT = 10


class Events:
    def __init__(self, serving: Serving, acls: RoomAcls) -> None:
        self._serving = serving
        self._acls = acls

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed("GET", f"{V1}/event/{{event_id}}", self.event),
            door.signed("GET", f"{V1}/backfill/{{room_id}}", self.backfill),
            door.signed_body("POST", f"{V1}/get_missing_events/{{room_id}}", self.missing_events),
            door.signed("GET", f"{V1}/timestamp_to_event/{{room_id}}", self.closest_event),
        ]

    async def event(self, request: Request, peer: Peer) -> Result:
        return Answer(body=await self._serving.event(peer.origin, event_id(request.parameters["event_id"])))

    async def backfill(self, request: Request, peer: Peer) -> Result:
        room = room_id(request)
        request.required("v")
        latest = event_ids(request.query["v"], "v")
        limit = request.integer("limit", DEFAULT_LIMIT, maximum=MAX_BACKFILL)
        await self._acls.require(room, peer.origin)
        return Answer(body=await self._serving.backfill(peer.origin, room, latest, limit))

    async def missing_events(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        room = room_id(request)
        for name in ("latest_events", "earliest_events"):
            if name not in body:
                raise BadRequest(f"{name} is missing", "M_MISSING_PARAM")
        latest = event_ids(body["latest_events"], "latest_events")
        earliest = event_ids(body["earliest_events"], "earliest_events")
        limit, min_depth = integer(body, "limit", DEFAULT_LIMIT), integer(body, "min_depth", 0)
        await self._acls.require(room, peer.origin)
        found = await self._serving.missing_events(peer.origin, room, latest, earliest, limit, min_depth)
        return Answer(body=found)

    async def closest_event(self, request: Request, peer: Peer) -> Result:
        room = room_id(request)
        for name in ("ts", "dir"):
            request.required(name)
        ts, direction = request.integer("ts", 0), request.choice("dir", ("f", "b"), "f")
        await self._acls.require(room, peer.origin)
        found = await self._serving.closest_event(peer.origin, room, ts, forwards=direction == "f")
        return Answer(body=found)
