"""Opening a room for writing, and putting a local user's event into it: draft, judge, append."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from homeserver.domain.errors import Forbidden
from homeserver.domain.event import Event
from homeserver.domain.verdict import Accepted
from homeserver.services.push.rule_book import DEFAULT_CLASS
from homeserver.services.rooms.append import Append, Sent
from homeserver.services.rooms.draft import Draft
from homeserver.services.rooms.placing import HERE, find_auth_events, find_placement, judge_in_room
from homeserver.services.rooms.room import Heads, LockedRoom
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store


class Writer:
    """Used inside a `db.write` that holds the room's lock."""

    def __init__(self, draft: Draft, append: Append, heads: Heads) -> None:
        self._draft = draft
        self._append = append
        self._heads = heads

    @property
    def server_name(self) -> str:
        return self._draft.server_name

    def open(self, store: Store, room_id: str) -> LockedRoom:
        """The room, its row locked. Raises NotFound. Call its `save` after the last event."""
        return LockedRoom(store, store.rooms.lock(room_id), self._heads)

    def open_row(self, store: Store, row: RoomRow) -> LockedRoom:
        """As `open`, of a row that is locked already or was made by this transaction."""
        return LockedRoom(store, row, self._heads)

    def create(self, store: Store, row: RoomRow, creator: str, content: Mapping[str, Any], now_ms: int) -> LockedRoom:
        """A new room with its create event. `row.room_id` is its id, unless the version makes it of that event."""
        event = self._draft(
            LockedRoom(store, row, self._heads),
            sender=creator,
            type="m.room.create",
            content=content,
            state_key="",
            origin_server_ts=now_ms,
        )
        row = replace(row, room_id=event.room_id, classes=[DEFAULT_CLASS], ordinals=[0])
        store.rooms.add(row, now_ms)
        room = LockedRoom(store, row, self._heads)
        verdict = self._append(room, event)
        if not isinstance(verdict, Accepted):
            raise Forbidden(verdict.why)
        return room

    def put(
        self,
        room: LockedRoom,
        *,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        redacts: str | None = None,
        sent: Sent | None = None,
        origin_server_ts: int | None = None,
    ) -> str:
        """The id of the new event. Raises Forbidden with the reason if the rules do not allow it."""
        event = self._draft(
            room,
            sender=sender,
            type=type,
            content=content,
            state_key=state_key,
            redacts=redacts,
            origin_server_ts=origin_server_ts,
        )
        verdict = self._append(room, event, sent)
        if not isinstance(verdict, Accepted):
            raise Forbidden(verdict.why)
        return event.event_id

    def draft(
        self, room: LockedRoom, *, sender: str, type: str, content: Mapping[str, Any], state_key: str | None
    ) -> Event:
        """An event that would stand at the end of the room now; nothing is written. Raises Forbidden as `put`."""
        event = self._draft(room, sender=sender, type=type, content=content, state_key=state_key)
        place = find_placement(room, event, HERE)
        verdict = judge_in_room(room, event, place, find_auth_events(room, event), HERE)
        if not isinstance(verdict, Accepted):
            raise Forbidden(verdict.why)
        return event

    def let_in(self, room: LockedRoom, event: Event) -> None:
        """Appends what `draft` made, with what was added to it meanwhile. Raises Forbidden if the room has changed so
        that it is not allowed any more."""
        verdict = self._append(room, event)
        if not isinstance(verdict, Accepted):
            raise Forbidden(verdict.why)
