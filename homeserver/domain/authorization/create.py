"""The rules for `m.room.create` events, and which create event a room has.
https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules (rules 1 and 2)
"""

from homeserver.domain.event import Event
from homeserver.domain.identifiers import is_user_id
from homeserver.domain.versions import ROOM_VERSIONS


def server_of(identifier: str) -> str:
    """The server name in a user id, or in the room and event ids of versions that have one; else ""."""
    return identifier.partition(":")[2]


def create_event_id(room_id: str) -> str:
    """The id of the create event of a room whose id is that event's hash."""
    return "$" + room_id[1:]


def authorize_create(event: Event) -> str | None:
    """None if a create event is allowed, otherwise the reason why not. It depends on no state."""
    version = event.version
    content = event.content
    # 1.1: it is the first event of its room.
    if event.prev_events:
        return "A create event must have no previous events."
    # 1.2: the room id must belong to the creating server, or be left to the hash.
    if version.room_id_is_create_hash:
        if "room_id" in event.pdu:
            return "A create event must not name its room, whose id is the event's own hash."
    elif server_of(event.room_id) != server_of(event.sender):
        return "The room id and the sender of the create event belong to different servers."
    # 1.3: only room versions that exist.
    if "room_version" in content:
        identifier = content["room_version"]
        if not isinstance(identifier, str) or identifier not in ROOM_VERSIONS:
            return "The create event names an unknown room version."
    # 1.4, until the sender became the creator.
    if not version.creator_is_sender and "creator" not in content:
        return "The create event names no creator."
    # 1.4, since creators are privileged: user ids only.
    if version.privileged_creators and "additional_creators" in content:
        additional = content["additional_creators"]
        if not isinstance(additional, list) or not all(is_user_id(user_id) for user_id in additional):
            return "The additional creators must be a list of user ids."
    return None
