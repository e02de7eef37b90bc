"""Drafting an event of a local user: what it follows, what authorises it, its hashes and our signature.

Nothing is decided here; `append` judges. https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

from collections.abc import Iterable, Mapping
from typing import Any

from signedjson.types import SigningKey

from homeserver.domain.authorization.selection import auth_state_keys
from homeserver.domain.draft import Reference, build_pdu
from homeserver.domain.event import Event
from homeserver.domain.hashing import reference_hash
from homeserver.domain.versions import EventIdFormat
from homeserver.ports import Clock, Randomness
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import StoredEvent

# An event may refer to at most 20 others; that many extremities are merged at once.
MAX_PREV_EVENTS = 20


class Draft:
    def __init__(self, server_name: str, key: SigningKey, clock: Clock, randomness: Randomness) -> None:
        self.server_name = server_name
        self._key = key
        self._clock = clock
        self._randomness = randomness

    def __call__(
        self,
        room: LockedRoom,
        *,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        redacts: str | None = None,
        origin_server_ts: int | None = None,
    ) -> Event:
        """An event at the end of the room. Raises BadRequest if it cannot be one (its size, floats ...)."""
        keys = auth_state_keys(room.version, type, sender, state_key, content)
        room.prefetch(keys)
        row = room.row
        carries_room_id = not (room.version.room_id_is_create_hash and type == "m.room.create")
        return build_pdu(
            room.version,
            room_id=row.room_id if carries_room_id else None,
            sender=sender,
            type=type,
            state_key=state_key,
            content=content,
            prev_events=self._previous(room),
            auth_events=_references(room, (stored for key in keys if (stored := room.find(key)) is not None)),
            depth=row.depth + 1,
            origin_server_ts=self._clock.now_ms() if origin_server_ts is None else origin_server_ts,
            server_name=self.server_name,
            key=self._key,
            event_id_suffix=self._randomness.token(18) if room.version.event_ids is EventIdFormat.CHOSEN else None,
            redacts=redacts,
        )

    def create_event(
        self, room: LockedRoom, *, sender: str, content: Mapping[str, Any], origin_server_ts: int
    ) -> Event:
        """The first event of a room."""
        return self(
            room, sender=sender, type="m.room.create", content=content, state_key="", origin_server_ts=origin_server_ts
        )

    @staticmethod
    def _previous(room: LockedRoom) -> list[Reference]:
        row = room.row
        if room.version.reference_pairs:
            numbers = row.extremities[:MAX_PREV_EVENTS]
            return _references(room, room.events(numbers).values())
        return list(row.extremity_ids[:MAX_PREV_EVENTS])


def _references(room: LockedRoom, events: Iterable[StoredEvent]) -> list[Reference]:
    if room.version.reference_pairs:
        return [(stored.event.event_id, reference_hash(room.version, stored.event.pdu)) for stored in events]
    return [stored.event.event_id for stored in events]
