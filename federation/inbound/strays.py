"""PDUs of rooms that we are not in. The only one of concern takes back an invite, or a knock, of a user of ours.

Nothing of the room is known that could authorise it, so it must come from the server that the invite came from.
https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from federation.inbound.pdus import Checked, Refused
from homeserver.domain.identifiers import domain_of, is_user_id
from homeserver.domain.versions import RoomVersion
from homeserver.services.rooms.remote.out_of_band import OutOfBand

logger = logging.getLogger(__name__)


class Checks(Protocol):
    async def check(
        self, version: RoomVersion, pdus: Sequence[object], *, room_id: str | None = None
    ) -> list[Checked | Refused]: ...


class Strays:
    def __init__(self, server_name: str, out_of_band: OutOfBand, checks: Checks) -> None:
        self._server_name = server_name
        self._out_of_band = out_of_band
        self._checks = checks

    async def take(self, origin: str, room_id: str, pdu: Mapping[str, Any]) -> str | None:
        """The id of the event, if it could be told."""
        user_id, content = pdu.get("state_key"), pdu.get("content")
        if pdu.get("type") != "m.room.member" or not is_user_id(user_id) or domain_of(user_id) != self._server_name:
            return None
        if not isinstance(content, Mapping) or content.get("membership") not in ("leave", "ban"):
            return None
        standing = await self._out_of_band.find(user_id, room_id)
        if standing is None:
            return None
        (checked,) = await self._checks.check(standing.version, [pdu], room_id=room_id)
        if isinstance(checked, Refused):
            fields = {"origin": origin, "event_id": checked.event_id, "why": checked.why}
            logger.warning("refused a PDU", extra={"fields": fields})
            return checked.event_id
        event = checked.event
        inviter = domain_of(standing.sender)
        if domain_of(event.sender) != origin or (standing.membership == "invite" and origin != inviter):
            logger.info("%s of %s takes back an invite of %s: not taken", event.event_id, origin, inviter)
            return event.event_id
        await self._out_of_band.receive(standing.version, event, [])
        return event.event_id
