"""Rooms of other servers behind the rate limit `joins_remote`: to enter one costs those servers work.

It stands before what does the work, since only that knows which rooms are not here. Leaving and inviting go through:
whoever may knock at a door may also go away from it, and invites have limits of their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from clients.limits import Limits
from homeserver.domain.event import Event
from homeserver.ports import RemoteRooms


class LimitedRooms:
    """Implements `RemoteRooms`."""

    def __init__(self, rooms: RemoteRooms, limits: Limits) -> None:
        self._rooms = rooms
        self._limits = limits

    async def join(
        self,
        user_id: str,
        room_id: str,
        servers: Sequence[str],
        content: Mapping[str, Any],
        *,
        although_resident: bool = False,
    ) -> bool:
        self._limits.take("joins_remote", user_id)
        return await self._rooms.join(user_id, room_id, servers, content, although_resident=although_resident)

    async def knock(self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]) -> None:
        self._limits.take("joins_remote", user_id)
        await self._rooms.knock(user_id, room_id, servers, content)

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        await self._rooms.leave(user_id, room_id, content)

    async def sign_invite(self, event: Event, stripped: Sequence[Mapping[str, Any]]) -> Event:
        return await self._rooms.sign_invite(event, stripped)
