"""What a server tells of a room to somebody who is outside: stripped state, shown to a user who is invited or knocks.

In rooms whose id is made of their create event it is told by whole, signed events, and only what was signed is shown.
Elsewhere it is hearsay. https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from federation.inbound.pdus import Checked, Refused
from homeserver.domain.errors import BadRequest
from homeserver.domain.versions import RoomVersion

MAX_TOLD = 100


class Checks(Protocol):
    async def check(
        self, version: RoomVersion, pdus: Sequence[object], *, room_id: str | None = None
    ) -> list[Checked | Refused]: ...


async def read_told(
    checks: Checks, version: RoomVersion, room_id: str, answer: object, key: str
) -> list[Mapping[str, Any]]:
    """What is told and may be shown. Raises BadRequest if it is not signed, or not of this room, where it must be:
    "servers SHOULD return M_INVALID_PARAM"."""
    if not version.room_id_is_create_hash:
        return read_stripped(answer, key)
    told = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(told, list) or len(told) > MAX_TOLD:
        raise BadRequest(f"{key} is missing or too long")
    checked = await checks.check(version, told, room_id=room_id)
    # What was redacted, or tampered with, is shown as what was signed of it.
    events = [one.event for one in checked if isinstance(one, Checked)]
    if len(events) < len(checked) or not any(event.type == "m.room.create" for event in events):
        raise BadRequest(f"{key} must hold the create event, and only signed events of the room")
    return [
        {"content": event.content, "sender": event.sender, "state_key": event.state_key, "type": event.type}
        for event in events
        if event.is_state
    ]


def read_stripped(answer: object, key: str) -> list[Mapping[str, Any]]:
    """Stripped state, as far as it has its shape."""
    found = answer.get(key) if isinstance(answer, Mapping) else None
    told: list[Mapping[str, Any]] = []
    for one in found[:MAX_TOLD] if isinstance(found, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("content"), Mapping):
            event = {key: one[key] for key in ("content", "sender", "state_key", "type") if key in one}
            if all(isinstance(event.get(key), str) for key in ("sender", "state_key", "type")):
                told.append(event)
    return told
