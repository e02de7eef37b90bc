"""A room's state and its members: reading them, and setting state.

The state key may be empty, and then its slash may be left out.
https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from clients.authentication import Door, Result
from clients.endpoints.parameters import refuse_suspended, room_id
from homeserver.domain.errors import Forbidden
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.rooms.send import Send
from homeserver.services.rooms.state import MEMBERSHIPS, RoomState

ROOM = "/_matrix/client/v3/rooms/{room_id}"
ONE = (f"{ROOM}/state/{{event_type}}", f"{ROOM}/state/{{event_type}}/", f"{ROOM}/state/{{event_type}}/{{state_key}}")


class State:
    def __init__(self, state: RoomState, events: Send) -> None:
        self._state = state
        self._events = events

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", f"{ROOM}/state", self.get_all),
            *(door.user("GET", path, self.get) for path in ONE),
            *(door.user("PUT", path, self.set, limit="state") for path in ONE),
            door.user("GET", f"{ROOM}/members", self.members),
            door.user("GET", f"{ROOM}/joined_members", self.joined_members),
        ]

    async def get_all(self, request: Request, requester: Requester) -> Result:
        return Answer(body=await self._state.all(requester.user_id, room_id(request)))

    async def get(self, request: Request, requester: Requester) -> Result:
        whole = request.choice("format", ("content", "event"), "content") == "event"
        type, state_key = request.parameters["event_type"], request.parameters.get("state_key", "")
        found = await self._state.get(requester.user_id, room_id(request), type, state_key, whole=whole)
        return Answer(body=found)

    async def set(self, request: Request, requester: Requester) -> Result:
        refuse_suspended(requester)
        type, state_key = request.parameters["event_type"], request.parameters.get("state_key", "")
        _refuse_guest(requester, type, state_key)
        room, content = room_id(request), await request.json_object()
        return {"event_id": await self._events.state(requester.user_id, room, type, state_key, content)}

    async def members(self, request: Request, requester: Requester) -> Result:
        wanted = request.choice("membership", MEMBERSHIPS, None)
        unwanted = request.choice("not_membership", MEMBERSHIPS, None)
        room, at = room_id(request), request.text("at")
        return Answer(body=await self._state.members(requester.user_id, room, at, wanted, unwanted))

    async def joined_members(self, request: Request, requester: Requester) -> Result:
        return Answer(body=await self._state.joined_members(requester.user_id, room_id(request)))


def _refuse_guest(requester: Requester, type: str, state_key: str) -> None:
    """Raises Forbidden for a guest who would invite, kick or ban: the endpoints for these are not for guests either."""
    others = type == "m.room.member" and state_key != requester.user_id
    if requester.is_guest and (others or type == "m.room.third_party_invite"):
        raise Forbidden("Guests say nothing of the membership of others", "M_GUEST_ACCESS_FORBIDDEN")
