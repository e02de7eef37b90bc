"""A room as a whole in one answer, for those who look at it without syncing: its state, its newest events, what the
user keeps for it. And single events whose room the asker does not name.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.domain.canonical import canonical_json, parse_json
from homeserver.domain.errors import NotFound
from homeserver.domain.filters import EventFilter
from homeserver.services.access import readable_room
from homeserver.services.client_form import quote
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.history import History
from homeserver.services.rooms.pages import PageRequest
from homeserver.services.rooms.state import RoomState
from homeserver.storage.store import Store

LIMIT = 20
# Of a page that we made ourselves.
MAX_VALUES = 10_000_000
LATEST = 2**62


@dataclass(frozen=True, slots=True)
class _About:
    """What the answer says of the room beside state and events; `account_data` is a JSON list."""

    membership: str | None
    published: bool
    account_data: str


class InitialSync:
    def __init__(self, database: Persistence, history: History, state: RoomState) -> None:
        self._database = database
        self._history = history
        self._state = state

    async def room(self, user_id: str, device_id: str, room_id: str, limit: int = LIMIT) -> bytes:
        """The JSON of the RoomInfo: of now, or of when the user left. Raises Forbidden."""

        def work(store: Store) -> _About:
            room = readable_room(store, user_id, room_id)
            rows = store.account_data.list_of_rooms(user_id, [room.row.number], LATEST)[room.row.number]
            events = (f'{{"type":{quote(type)},"content":{content}}}' for type, content in rows if content is not None)
            membership = None if room.membership is None else room.membership.membership
            return _About(membership, room.row.published, f"[{','.join(events)}]")

        about = await self._database.read(work)
        state = await self._state.all(user_id, room_id)
        asked = PageRequest(room_id, None, None, True, limit, EventFilter())
        page = parse_json(await self._history.page(user_id, device_id, asked), False, max_values=MAX_VALUES)
        # The newest event stands last, and `start` leads to what came before.
        messages: dict[str, Any] = {"chunk": page["chunk"][::-1], "end": page["start"]}
        if "end" in page:
            messages["start"] = page["end"]
        # Of events of old rooms, whose numbers orjson cannot write.
        parts = {
            "room_id": quote(room_id),
            "visibility": quote("public" if about.published else "private"),
            "messages": canonical_json(messages, checked=True).decode(),
            "state": state.decode(),
            "account_data": about.account_data,
        }
        if about.membership is not None:
            parts["membership"] = quote(about.membership)
        return b"{" + b",".join(orjson.dumps(key) + b":" + value.encode() for key, value in parts.items()) + b"}"

    async def event(self, user_id: str, device_id: str, event_id: str) -> bytes:
        """The JSON of an event of whatever room. Raises NotFound."""

        def work(store: Store) -> str | None:
            event = store.events.find(event_id)
            rooms = [] if event is None else store.rooms.list_by_numbers([event.room])
            return rooms[0].room_id if rooms else None

        room_id = await self._database.read(work)
        if room_id is None:
            raise NotFound("You know of no such event")
        return await self._history.event(user_id, device_id, room_id, event_id)
