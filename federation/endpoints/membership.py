"""Coming into rooms, leaving them, knocking, and inviting.

Rooms: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from typing import Any

import orjson

from federation.authentication import Peer, PeerDoor, Result
from federation.endpoints.parameters import event_id, room_id
from federation.joining.incoming import IncomingMembership
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_user_id
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
MAX_VERSIONS = 100


class Membership:
    def __init__(self, incoming: IncomingMembership) -> None:
        self._incoming = incoming

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed("GET", f"{V1}/make_join/{{room_id}}/{{user_id}}", self.make_join),
            door.signed_body("PUT", f"{V2}/send_join/{{room_id}}/{{event_id}}", self.send_join),
            door.signed("GET", f"{V1}/make_leave/{{room_id}}/{{user_id}}", self.make_leave),
            door.signed_body("PUT", f"{V2}/send_leave/{{room_id}}/{{event_id}}", self.send_leave),
            door.signed("GET", f"{V1}/make_knock/{{room_id}}/{{user_id}}", self.make_knock),
            door.signed_body("PUT", f"{V1}/send_knock/{{room_id}}/{{event_id}}", self.send_knock),
            door.signed_body("PUT", f"{V1}/invite/{{room_id}}/{{event_id}}", self.invite_v1),
            door.signed_body("PUT", f"{V2}/invite/{{room_id}}/{{event_id}}", self.invite),
        ]

    async def make_join(self, request: Request, peer: Peer) -> Result:
        # "Defaults to ["1"]"
        versions = request.query.get("ver", ["1"])
        return await self._make(request, peer, "join", versions)

    async def make_leave(self, request: Request, peer: Peer) -> Result:
        return await self._make(request, peer, "leave", None)

    async def make_knock(self, request: Request, peer: Peer) -> Result:
        request.required("ver")
        return await self._make(request, peer, "knock", request.query["ver"])

    async def send_join(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        return Answer(body=await self._incoming.join(peer.origin, *_ids(request), body))

    async def send_leave(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        return await self._incoming.leave(peer.origin, *_ids(request), body)

    async def send_knock(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        return await self._incoming.knock(peer.origin, *_ids(request), body)

    async def invite(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        return await self._incoming.invite(peer.origin, *_ids(request), body)

    async def invite_v1(self, request: Request, peer: Peer, body: dict[str, Any]) -> Result:
        """The body is the event alone, of a room of version 1 or 2."""
        unsigned = body.get("unsigned")
        told = unsigned.get("invite_room_state", []) if isinstance(unsigned, dict) else []
        # Only these two versions name the event in it, so the event id tells which of them it can be.
        wanted = {"room_version": "1", "event": body, "invite_room_state": told}
        answer = await self._incoming.invite(peer.origin, *_ids(request), wanted)
        return Answer(body=orjson.dumps([200, answer]))

    async def _make(self, request: Request, peer: Peer, membership: str, versions: Any) -> Result:
        user_id = request.parameters["user_id"]
        if not is_user_id(user_id):
            raise BadRequest("This is not a user id")
        if versions is not None and len(versions) > MAX_VERSIONS:
            raise BadRequest(f"ver is given more than {MAX_VERSIONS} times")
        return await self._incoming.make(peer.origin, room_id(request), user_id, membership, versions)


def _ids(request: Request) -> tuple[str, str]:
    return room_id(request), event_id(request.parameters["event_id"])
