"""What somebody is told of a room who is not in it: invited or knocking users of other servers.

"All events listed MUST be formatted according to the room version specification": to servers whole events are told.
https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from homeserver.domain.event import Event
from homeserver.services.rooms.room import LockedRoom

KEYS = tuple(
    (type, "")
    for type in (
        "m.room.create",
        "m.room.name",
        "m.room.avatar",
        "m.room.topic",
        "m.room.join_rules",
        "m.room.canonical_alias",
        "m.room.encryption",
    )
)


def facts_for_outsiders(room: LockedRoom, sender: str | None = None) -> list[Event]:
    """`sender`: whoever invites is told too."""
    keys = [*KEYS, *([] if sender is None else [("m.room.member", sender)])]
    room.prefetch(keys)
    return [event for key in keys if (event := room.lookup(key)) is not None]
