"""Users of other servers come into our rooms, and our users are invited into theirs.

What comes back from a template must be the event that its path names, and no other: an event of another room, type,
membership, sender or state key is refused before anything is looked at.
https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
from signedjson.types import SigningKey

from federation.inbound.pdus import Checked, Refused
from federation.joining.told import read_told
from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.event import Event
from homeserver.domain.identifiers import domain_of, is_user_id
from homeserver.domain.signing import sign_event
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.rooms.remote.hosting import Hosting
from homeserver.services.rooms.remote.invited import Invited
from homeserver.services.rooms.remote.serving_state import ServingState

logger = logging.getLogger(__name__)


class Checks(Protocol):
    async def check(
        self,
        version: RoomVersion,
        pdus: Sequence[object],
        *,
        room_id: str | None = None,
        unsigned_by: str | None = None,
    ) -> list[Checked | Refused]: ...


class Acls(Protocol):
    async def require(self, room_id: str, server_name: str) -> None: ...


class IncomingMembership:
    """`origin` is the name of the asking server, which has proven that it is the one."""

    def __init__(
        self,
        server_name: str,
        key: SigningKey,
        checks: Checks,
        acls: Acls,
        hosting: Hosting,
        serving: ServingState,
        invited: Invited,
    ) -> None:
        self._server_name = server_name
        self._key = key
        self._checks = checks
        self._acls = acls
        self._hosting = hosting
        self._serving = serving
        self._invited = invited

    async def make(
        self, origin: str, room_id: str, user_id: str, membership: str, versions: Collection[str] | None
    ) -> dict[str, Any]:
        """`event` and `room_version`: the template. Raises Forbidden, NotFound, BadRequest."""
        if not is_user_id(user_id) or domain_of(user_id) != origin:
            raise Forbidden("The user is not of your server")
        await self._acls.require(room_id, origin)
        offer = await self._hosting.offer(room_id, user_id, membership, versions)
        return {"event": offer.event, "room_version": offer.version.identifier}

    async def join(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> bytes:
        """The answer to send_join: the room's state before the join. Raises Forbidden, NotFound, BadRequest."""
        event = await self._take(origin, room_id, event_id, pdu, "join")
        entry = await self._serving.entry(origin, room_id, event_id)
        servers = [self._server_name, *entry.servers]
        told = orjson.dumps({"members_omitted": False, "origin": self._server_name, "servers_in_room": servers})
        written = canonical_json(event.pdu, checked=True).decode()
        lists = f'{{"auth_chain":[{entry.auth_chain}],"event":{written},"state":[{entry.state}],'
        return lists.encode() + told[1:]

    async def leave(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> dict[str, Any]:
        await self._take(origin, room_id, event_id, pdu, "leave")
        return {}

    async def knock(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> dict[str, Any]:
        """`knock_room_state`: what the knocking user is told of the room."""
        await self._take(origin, room_id, event_id, pdu, "knock")
        return {"knock_room_state": await self._hosting.told(room_id)}

    async def invite(self, origin: str, room_id: str, event_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """`event`: the invite of our user, with our signature. `body` as of version 2 of the endpoint.

        Raises Forbidden (M_INVITE_BLOCKED if the user wants none), NotFound if there is no such user, BadRequest.
        """
        identifier = body.get("room_version")
        version = ROOM_VERSIONS.get(identifier) if isinstance(identifier, str) else None
        if version is None:
            raise BadRequest("This room version is not known here", "M_INCOMPATIBLE_ROOM_VERSION")
        event = await self._checked(version, origin, room_id, event_id, body.get("event"), "invite")
        user_id = event.state_key or ""
        if domain_of(user_id) != self._server_name:
            raise BadRequest("The invited user is not of this server")
        await self._acls.require(room_id, origin)
        told = await read_told(self._checks, version, room_id, body, "invite_room_state")
        await self._invited.check(version, user_id, room_id)
        signed = replace(event, pdu=sign_event(version, event.pdu, self._server_name, self._key))
        await self._invited.receive(version, signed, told)
        return {"event": signed.pdu}

    async def _take(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any], membership: str) -> Event:
        version = await self._hosting.version(room_id)
        event = await self._checked(version, origin, room_id, event_id, pdu, membership)
        await self._acls.require(room_id, origin)
        return await self._hosting.take(event)

    async def _checked(
        self, version: RoomVersion, origin: str, room_id: str, event_id: str, pdu: object, membership: str
    ) -> Event:
        """Raises BadRequest unless it is a good event of this origin, room, id and membership, Forbidden if not
        signed."""
        check_as_named(pdu, origin, room_id, membership)
        (checked,) = await self._checks.check(version, [pdu], room_id=room_id, unsigned_by=self._server_name)
        if isinstance(checked, Refused):
            logger.warning("refused a membership event: %s", checked.why)
            raise Forbidden(f"The event is not taken: {checked.why}")
        if checked.event.event_id != event_id or checked.redacted:
            raise BadRequest("The event is another one than the path says")
        return checked.event


def check_as_named(pdu: object, origin: str, room_id: str, membership: str) -> None:
    """Raises BadRequest unless this is the membership event that the path names, of a user of the asking server."""
    if not isinstance(pdu, Mapping) or pdu.get("type") != "m.room.member":
        raise BadRequest("The event is no m.room.member event", "M_BAD_JSON")
    if pdu.get("room_id") != room_id:
        raise BadRequest("The event is of another room than the path")
    content, sender, state_key = pdu.get("content"), pdu.get("sender"), pdu.get("state_key")
    if not isinstance(content, Mapping) or content.get("membership") != membership:
        raise BadRequest(f"The event's membership is not {membership}")
    if not is_user_id(sender) or domain_of(sender) != origin:
        raise BadRequest("The event is not of a user of your server")
    if not is_user_id(state_key):
        raise BadRequest("The event's state key is no user")
    if membership != "invite" and state_key != sender:
        raise BadRequest("The event is not about its sender")
