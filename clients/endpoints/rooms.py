"""Making rooms, and who is in them.

`via` says through which servers a room may be reached that this one is not in.
https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from contextlib import ExitStack

from clients.authentication import Door, Result
from clients.endpoints.bodies import required_text, text
from clients.endpoints.create_room import read_room_request
from clients.endpoints.parameters import json_object, refuse_suspended, room_id, room_id_or_alias, user_id
from clients.limits import Limits
from homeserver.domain.errors import Forbidden
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms.create import Create
from homeserver.services.rooms.membership import Membership

V3 = "/_matrix/client/v3"
ROOM = V3 + "/rooms/{room_id}"
# Servers that are looked at.
MAX_SERVERS = 20
# Of whoever is invited by an e-mail address or a phone number.
THIRD_PARTY = ("medium", "address", "id_server", "id_access_token")


class Rooms:
    def __init__(self, create: Create, membership: Membership, limits: Limits, default_version: str) -> None:
        self._create = create
        self._membership = membership
        self._limits = limits
        self._default_version = default_version

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user(
                "POST", f"{V3}/createRoom", self.create, limit="room_creation", also=("invites", "invites_target")
            ),
            door.user("GET", f"{V3}/joined_rooms", self.joined_rooms),
            door.user("POST", f"{ROOM}/join", self.join, limit="joins", also=("joins_remote",)),
            door.user(
                "POST", f"{V3}/join/{{room_id_or_alias}}", self.join_by_alias, limit="joins", also=("joins_remote",)
            ),
            door.user("POST", f"{V3}/knock/{{room_id_or_alias}}", self.knock, limit="knocks", also=("joins_remote",)),
            door.user("POST", f"{ROOM}/leave", self.leave, limit="leaves"),
            door.user("POST", f"{ROOM}/forget", self.forget, limit="leaves"),
            door.user("POST", f"{ROOM}/invite", self.invite, limit="invites", also=("invites_room", "invites_target")),
            door.user("POST", f"{ROOM}/kick", self.kick, limit="moderation"),
            door.user("POST", f"{ROOM}/ban", self.ban, limit="moderation"),
            door.user("POST", f"{ROOM}/unban", self.unban, limit="moderation"),
        ]

    async def create(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        wanted = read_room_request(await request.json_object(), self._default_version)
        invited = set(wanted.invite)
        with ExitStack() as stack:
            held = [stack.enter_context(self._limits.hold("invites_target", one)) for one in invited]
            if invited:
                held.append(stack.enter_context(self._limits.hold("invites", requester.user_id, len(invited))))
            room = await self._create(requester.user_id, wanted)
            for hold in held:
                hold.spend()
        return {"room_id": room}

    async def joined_rooms(self, request: Request, requester: Requester) -> Result:
        return {"joined_rooms": await self._membership.joined_rooms(requester.user_id)}

    async def join(self, request: Request, requester: Requester) -> Result:
        return await self._join(request, requester, room_id(request))

    async def join_by_alias(self, request: Request, requester: Requester) -> Result:
        return await self._join(request, requester, room_id_or_alias(request))

    async def _join(self, request: Request, requester: Requester, room: str) -> Result:
        refuse_suspended(requester)
        body = await request.json_object_or_empty()
        # The proof of an invitation by e-mail. Nobody can have one for a room of a server without identity server.
        json_object(body, "third_party_signed")
        reason = text(body, "reason")
        content = {} if reason is None else {"reason": reason}
        return {"room_id": await self._membership.join(requester.user_id, room, content, _servers(request))}

    async def knock(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room = room_id_or_alias(request)
        reason = text(await request.json_object_or_empty(), "reason")
        return {"room_id": await self._membership.knock(requester.user_id, room, reason, _servers(request))}

    async def leave(self, request: Request, requester: Requester) -> Result:
        room = room_id(request)
        reason = text(await request.json_object_or_empty(), "reason")
        await self._membership.leave(requester.user_id, room, reason)
        return {}

    async def forget(self, request: Request, requester: Requester) -> Result:
        await self._membership.forget(requester.user_id, room_id(request))
        return {}

    async def invite(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, body = room_id(request), await request.json_object()
        if "user_id" not in body and "medium" in body:
            for key in THIRD_PARTY:
                required_text(body, key)
            raise Forbidden(
                "Nobody can be invited by e-mail or phone number: this server has no identity server",
                "M_THREEPID_DENIED",
            )
        target, reason = user_id(body), text(body, "reason")
        with (
            self._limits.hold("invites_room", room) as of_room,
            self._limits.hold("invites_target", target) as of_target,
        ):
            await self._membership.invite(requester.user_id, room, target, reason)
            of_room.spend()
            of_target.spend()
        return {}

    async def kick(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, body = room_id(request), await request.json_object()
        await self._membership.kick(requester.user_id, room, user_id(body), text(body, "reason"))
        return {}

    async def ban(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, body = room_id(request), await request.json_object()
        await self._membership.ban(requester.user_id, room, user_id(body), text(body, "reason"))
        return {}

    async def unban(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        room, body = room_id(request), await request.json_object()
        await self._membership.unban(requester.user_id, room, user_id(body), text(body, "reason"))
        return {}


def _servers(request: Request) -> list[str]:
    """Through which servers the room may be reached. `server_name` is what `via` was called before."""
    return [*request.query.get("via", ()), *request.query.get("server_name", ())][:MAX_SERVERS]
