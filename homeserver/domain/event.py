"""An event of a room, parsed from its PDU.

The PDU (the JSON that servers exchange and sign) stays as it came in `pdu`; the fields that the rules ask are
read once. An Event is a value: nothing about it changes. What can change about an event in a room (rejected,
soft-failed, redacted) is no part of it and stands in columns of storage.
https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.domain.versions import RoomVersion

# The key of a state event in a room: its type and its state key.
StateKey = tuple[str, str]
# The state of a room: which event (by id) stands at each key.
StateMap = Mapping[StateKey, str]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `state_key` is None for a message event; ids of prev and auth events are plain strings in every
    room version; times are milliseconds since 1970."""

    version: RoomVersion
    event_id: str
    room_id: str
    sender: str
    type: str
    state_key: str | None
    content: Mapping[str, Any]
    origin_server_ts: int
    depth: int
    prev_events: tuple[str, ...]
    auth_events: tuple[str, ...]
    redacts: str | None
    pdu: Mapping[str, Any]

    @property
    def is_state(self) -> bool:
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """The state key pair; only of a state event."""
        assert self.state_key is not None, "a message event has no place in the state"
        return (self.type, self.state_key)


def read_event(version: RoomVersion, event_id: str, pdu: Mapping[str, Any], room_id: str | None = None) -> Event:
    """The event of a PDU whose format was already checked (`homeserver.domain.format`).

    `event_id` is given by the caller, who computed or read it (`homeserver.domain.hashing.event_id`).
    `room_id` is needed only for a create event whose version leaves it out.
    """
    references = pdu["prev_events"], pdu["auth_events"]
    if version.reference_pairs:
        prev_events, auth_events = (tuple(pair[0] for pair in pairs) for pairs in references)
    else:
        prev_events, auth_events = (tuple(ids) for ids in references)
    redacts = pdu["content"].get("redacts") if version.redacts_in_content else pdu.get("redacts")
    return Event(
        version=version,
        event_id=event_id,
        room_id=pdu["room_id"] if room_id is None else room_id,
        sender=pdu["sender"],
        type=pdu["type"],
        state_key=pdu.get("state_key"),
        content=pdu["content"],
        origin_server_ts=pdu["origin_server_ts"],
        depth=pdu["depth"],
        prev_events=prev_events,
        auth_events=auth_events,
        redacts=redacts if isinstance(redacts, str) and pdu["type"] == "m.room.redaction" else None,
        pdu=pdu,
    )
