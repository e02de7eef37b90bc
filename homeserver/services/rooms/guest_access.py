"""Guests of this server in rooms: where they may be, and what becomes of them where they may no longer be.

"Servers MUST only allow guest users to join rooms if the m.room.guest_access state event is present on the room, and
has the guest_access value can_join." What other servers' guests do, their servers see to: nobody else knows of them.
https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from collections.abc import Sequence
from typing import Protocol

from homeserver.domain.errors import Forbidden, RemoteError
from homeserver.domain.event import StateKey
from homeserver.domain.identifiers import domain_of
from homeserver.ports import RemoteSpace
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer

GUEST_ACCESS: StateKey = ("m.room.guest_access", "")
REASON = "This room is not for guests"


class RoomsAbroad(Protocol):
    """What other servers say of their rooms: `homeserver.ports.RemoteDirectory` is one."""

    async def space(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteSpace | None:
        """None if they do not show it. Raises RemoteError."""
        ...


def admits_guests(room: LockedRoom) -> bool:
    """ "If this event is absent, servers should act as if it is present and has the value forbidden"."""
    access = room.lookup(GUEST_ACCESS)
    return access is not None and access.content.get("guest_access") == "can_join"


def check_guest(room: LockedRoom) -> None:
    """Raises Forbidden (M_GUEST_ACCESS_FORBIDDEN) where no guest of ours may join."""
    if not admits_guests(room):
        raise not_for_guests()


async def check_abroad(rooms: RoomsAbroad, room_id: str, servers: Sequence[str]) -> None:
    """Raises as `check_guest` if other servers say of a room that it is not for guests.

    They say so of rooms into which strangers may look, and of those to which somebody of us is invited. Where they say
    nothing, `send_away` comes after.
    """
    named = [*servers, *([domain_of(room_id)] if ":" in room_id else [])]
    try:
        told = await rooms.space(room_id, named, suggested_only=True)
    except RemoteError:
        return
    if told is not None and not told.room.get("guest_can_join"):
        raise not_for_guests()


def send_away(writer: Writer, room: LockedRoom, user_id: str, now_ms: int) -> None:
    """A guest of ours who has just come in leaves again, and reads nothing of the room, if it is not for guests."""
    if not room.store.users.is_guest(user_id) or admits_guests(room):
        return
    leave(writer, room, user_id)
    room.store.memberships.forget(user_id, room.row.number, now_ms)


def leave(writer: Writer, room: LockedRoom, user_id: str) -> None:
    """By the guest's own event: "the server MUST set those users' m.room.member state to leave"."""
    content = {"membership": "leave", "reason": REASON}
    writer.put(room, sender=user_id, type="m.room.member", state_key=user_id, content=content)


def not_for_guests() -> Forbidden:
    return Forbidden(REASON, "M_GUEST_ACCESS_FORBIDDEN")
