"""Other servers that consent to every invite, without a network; nothing else can be asked of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from config.compose.house import Abroad, Remote
from homeserver.domain.errors import Forbidden, NotFound
from homeserver.domain.event import Event


class Consenting:
    """`homeserver.ports.RemoteRooms`. `told` are the rooms of which somebody was told by an invite."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def join(
        self,
        user_id: str,
        room_id: str,
        servers: Sequence[str],
        content: Mapping[str, Any],
        *,
        although_resident: bool = False,
    ) -> bool:
        raise _nobody(servers)

    async def knock(self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]) -> None:
        raise _nobody(servers)

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        raise Forbidden("nobody answers")

    async def sign_invite(self, event: Event, stripped: Sequence[Mapping[str, Any]]) -> Event:
        self.told.append(event.room_id)
        return event


def _nobody(servers: Sequence[str]) -> Exception:
    return Forbidden("nobody lets you in") if servers else NotFound("No server is known that could tell of this room")


def consenting(_: Remote) -> Abroad:
    """For `build_house`."""
    return Abroad(Consenting(), None)
