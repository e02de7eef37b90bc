"""The state of a room before an event, and what authorises an event.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
"""

from federation.acl import RoomAcls
from federation.authentication import Peer, PeerDoor, Result
from federation.endpoints.parameters import event_id, room_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.rooms.remote.serving_state import ServingState

V1 = "/_matrix/federation/v1"


class State:
    def __init__(self, serving: ServingState, acls: RoomAcls) -> None:
        self._serving = serving
        self._acls = acls

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed("GET", f"{V1}/state/{{room_id}}", self.state),
            door.signed("GET", f"{V1}/state_ids/{{room_id}}", self.state_ids),
            door.signed("GET", f"{V1}/event_auth/{{room_id}}/{{event_id}}", self.event_auth),
        ]

    async def state(self, request: Request, peer: Peer) -> Result:
        room, event = room_id(request), event_id(request.required("event_id"))
        await self._acls.require(room, peer.origin)
        return Answer(body=await self._serving.state(peer.origin, room, event))

    async def state_ids(self, request: Request, peer: Peer) -> Result:
        room, event = room_id(request), event_id(request.required("event_id"))
        await self._acls.require(room, peer.origin)
        return Answer(body=await self._serving.state_ids(peer.origin, room, event))

    async def event_auth(self, request: Request, peer: Peer) -> Result:
        room, event = room_id(request), event_id(request.parameters["event_id"])
        await self._acls.require(room, peer.origin)
        return Answer(body=await self._serving.event_auth(peer.origin, room, event))
