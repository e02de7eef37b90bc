"""EDUs of another server: what its users type, read, and whether they are there.

A unit that is malformed, or about users of other servers, is dropped and counted; it harms none of the others.
https://spec.matrix.org/v1.19/server-server-api/#edus
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from homeserver.domain.identifiers import domain_of, is_event_id, is_room_id, is_user_id
from homeserver.telemetry.metrics import EDUS_RECEIVED

# As long as a client may say at most that somebody types.
TYPING_SECONDS = 30.0
# Receipts and presence updates in one EDU.
MAX_IN_ONE = 200
# What the unit itself is at fault for. While the database is away the sender has to come again.
REFUSALS = (BadRequest, Forbidden, NotFound)
KNOWN = ("m.typing", "m.receipt", "m.presence")


class Acls(Protocol):
    async def allowed(self, room_ids: Collection[str], server_name: str) -> set[str]: ...


class Typing(Protocol):
    async def set(self, user_id: str, room_id: str, seconds: float) -> None: ...


class Receipts(Protocol):
    async def set(self, user_id: str, room_id: str, types: dict[str, str], thread_id: str | None) -> None: ...


class Presence(Protocol):
    async def heard(self, user_id: str, update: Mapping[str, Any]) -> None: ...


class Edus:
    """`presence` is None where presence is off."""

    def __init__(self, acls: Acls, typing: Typing, receipts: Receipts, presence: Presence | None) -> None:
        self._acls = acls
        self._typing = typing
        self._receipts = receipts
        self._presence = presence

    async def take(self, origin: str, edus: Sequence[object]) -> None:
        for edu in edus:
            type = edu.get("edu_type") if isinstance(edu, Mapping) else None
            content = edu.get("content") if isinstance(edu, Mapping) else None
            taken = False
            if isinstance(content, Mapping):
                match type:
                    case "m.typing":
                        taken = await self._take_typing(origin, content)
                    case "m.receipt":
                        taken = await self._take_receipts(origin, content)
                    case "m.presence":
                        taken = await self._take_presence(origin, content)
            EDUS_RECEIVED.labels(type if type in KNOWN else "other", "taken" if taken else "dropped").inc()

    async def _take_typing(self, origin: str, content: Mapping[str, Any]) -> bool:
        user_id, room_id, typing = content.get("user_id"), content.get("room_id"), content.get("typing")
        if not _is_of(user_id, origin) or not is_room_id(room_id) or not isinstance(typing, bool):
            return False
        if not await self._acls.allowed([room_id], origin):
            return False
        try:
            await self._typing.set(str(user_id), room_id, TYPING_SECONDS if typing else 0.0)
        except REFUSALS:
            return False  # not in the room, or no such thread
        return True

    async def _take_receipts(self, origin: str, content: Mapping[str, Any]) -> bool:
        rooms = {room_id: by_type for room_id, by_type in content.items() if is_room_id(room_id)}
        allowed = await self._acls.allowed(list(rooms)[:MAX_IN_ONE], origin)
        taken, left = False, MAX_IN_ONE
        for room_id in allowed:
            read = rooms[room_id].get("m.read") if isinstance(rooms[room_id], Mapping) else None
            for user_id, receipt in (read if isinstance(read, Mapping) else {}).items():
                left -= 1
                if left < 0:
                    return taken
                if _is_of(user_id, origin) and isinstance(receipt, Mapping):
                    taken |= await self._take_receipt(user_id, room_id, receipt)
        return taken

    async def _take_receipt(self, user_id: str, room_id: str, receipt: Mapping[str, Any]) -> bool:
        event_ids, data = receipt.get("event_ids"), receipt.get("data")
        thread_id = data.get("thread_id") if isinstance(data, Mapping) else None
        if not isinstance(event_ids, list) or not event_ids or not is_event_id(event_ids[-1]):
            return False
        if thread_id is not None and (not isinstance(thread_id, str) or not thread_id or len(thread_id) > 255):
            return False
        try:
            await self._receipts.set(user_id, room_id, {"m.read": event_ids[-1]}, thread_id)
        except REFUSALS:
            return False  # not in the room, or no such thread
        return True

    async def _take_presence(self, origin: str, content: Mapping[str, Any]) -> bool:
        push = content.get("push")
        if self._presence is None or not isinstance(push, list):
            return False
        taken = False
        for update in push[:MAX_IN_ONE]:
            if isinstance(update, Mapping) and _is_of(update.get("user_id"), origin):
                await self._presence.heard(str(update["user_id"]), update)
                taken = True
        return taken


def _is_of(user_id: object, server: str) -> bool:
    """Whether this is a user of the server."""
    return is_user_id(user_id) and domain_of(user_id) == server
