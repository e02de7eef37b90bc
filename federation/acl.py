"""Whether a room lets a server in: the server ACL that stands there, compiled once for each content.

Every request about a room asks here, and every PDU and EDU of a transaction; what stands in a room is read anew each
time, since it may have changed, and its content only if it did.
https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from homeserver.domain.errors import Forbidden
from homeserver.domain.server_acl import ServerAcl

MAX_BYTES = 32 << 20
MAX_ROOMS = 20_000


class Standing(Protocol):
    """What stands in a room."""

    @property
    def version(self) -> str: ...
    @property
    def content(self) -> Mapping[str, Any] | None: ...


class StandingAcls(Protocol):
    async def find(self, room_ids: Sequence[str], known: Sequence[str]) -> Mapping[str, Standing]: ...


class RoomAcls:
    def __init__(self, standing: StandingAcls, *, max_bytes: int = MAX_BYTES, max_rooms: int = MAX_ROOMS) -> None:
        self._standing = standing
        self._max_bytes = max_bytes
        self._max_rooms = max_rooms
        # By the version of the content, least recently used first.
        self._compiled: OrderedDict[str, ServerAcl] = OrderedDict()
        self._bytes = 0
        # Which version stood in a room last.
        self._versions: OrderedDict[str, str] = OrderedDict()

    async def require(self, room_id: str, server_name: str) -> None:
        """Raises Forbidden: "the receiving server MUST reply with a 403 HTTP status code and an `errcode` of
        `M_FORBIDDEN`"."""
        if not await self.allowed([room_id], server_name):
            raise Forbidden("The room does not let your server in")

    async def allowed(self, room_ids: Collection[str], server_name: str) -> set[str]:
        """Those of the rooms that let the server in. A room that we do not know lets everybody in."""
        # Held here, so that nothing that is pushed out meanwhile is missing.
        held = {
            version: acl
            for room in room_ids
            if (acl := self._compiled.get(version := self._versions.get(room, ""))) is not None
        }
        found = await self._standing.find(list(room_ids), list(held))
        return {
            room for room in room_ids if room not in found or self._acl(room, found[room], held).allows(server_name)
        }

    def _acl(self, room_id: str, standing: Standing, held: Mapping[str, ServerAcl]) -> ServerAcl:
        self._versions[room_id] = standing.version
        self._versions.move_to_end(room_id)
        if len(self._versions) > self._max_rooms:
            self._versions.popitem(last=False)
        acl = held.get(standing.version) or self._compiled.get(standing.version)
        if acl is None:
            acl = ServerAcl(standing.content or {})
        if standing.version not in self._compiled:
            self._compiled[standing.version] = acl
            self._bytes += acl.weight
        self._compiled.move_to_end(standing.version)
        while self._bytes > self._max_bytes and len(self._compiled) > 1:
            self._bytes -= self._compiled.popitem(last=False)[1].weight
        return acl
