"""Read receipts. https://spec.matrix.org/v1.19/client-server-api/#receipts"""

import orjson

from homeserver.domain.errors import BadRequest
from homeserver.ports import Clock
from homeserver.services.access import joined_room
from homeserver.services.persistence import Persistence
from homeserver.storage.events import EventRow
from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.store import Store
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.publications import AccountDataItem, ReceiptItem

# As which thread a receipt names what stands in no thread.
MAIN = "main"
READ, PRIVATE, FULLY_READ = "m.read", "m.read.private", "m.fully_read"


class Receipts:
    def __init__(self, database: Persistence, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def set(self, user_id: str, room_id: str, types: dict[str, str], thread_id: str | None) -> None:
        """Marks as read: `types` gives an event id per receipt type (m.read, m.read.private, m.fully_read).

        `thread_id` is the thread that is read: "main", the id of a root, or None: all of the room. Raises Forbidden if
        the user is not in the room; BadRequest if an event stands in another thread. A receipt never goes back to an
        earlier event.
        """
        for type in types:
            if type not in (READ, PRIVATE, FULLY_READ):
                raise BadRequest(f"Receipt type {type!r} is not known")
        if FULLY_READ in types and thread_id is not None:
            raise BadRequest("m.fully_read belongs to no thread")
        if thread_id == "":
            raise BadRequest("thread_id must not be empty")

        def work(store: Store) -> None:
            room = joined_room(store, user_id, room_id)
            # Several devices of the user at once: one after the other, or the first receipts would overtake each other.
            store.memberships.lock(user_id, room.number)
            events = store.events.list_by_ids(set(types.values()))
            for type, event_id in types.items():
                event = events.get(event_id)
                if event is not None and event.room == room.number and not _stands_in(event, thread_id):
                    raise BadRequest("The event does not stand in this thread")
                anchor = event.anchor if event is not None and event.room == room.number else None
                if type == FULLY_READ:
                    self._set_marker(store, user_id, room.number, event_id)
                else:
                    self._set_receipt(store, user_id, room.number, room_id, type, thread_id or "", event_id, anchor)

        await self._database.write(work)

    def _set_receipt(
        self,
        store: Store,
        user_id: str,
        room: int,
        room_id: str,
        type: str,
        thread_id: str,
        event_id: str,
        anchor: int | None,
    ) -> None:
        standing = store.receipts.find(room, user_id, type, thread_id)
        if standing is not None:
            if standing.event_id == event_id:
                return
            if standing.anchor is not None and (anchor is None or anchor < standing.anchor):
                return
        now, position = self._clock.now_ms(), store.take_position()
        store.receipts.put(ReceiptRow(room, user_id, type, thread_id, event_id, anchor, now, position))
        keys = [user_key(user_id)] if type == PRIVATE else [room_key(room)]
        store.publish(position, keys, ReceiptItem(room, room_id, user_id, type, thread_id or None, event_id, now))

    @staticmethod
    def _set_marker(store: Store, user_id: str, room: int, event_id: str) -> None:
        position = store.take_position()
        content = orjson.dumps({"event_id": event_id}).decode()
        store.account_data.put(user_id, room, FULLY_READ, content, position)
        store.publish(position, [user_key(user_id)], AccountDataItem(user_id, room, FULLY_READ, content))


def _stands_in(event: EventRow, thread_id: str | None) -> bool:
    """Whether a receipt for the thread may point at the event. "Thread roots are considered to be in the main
    timeline"; a receipt for a thread may point at its root too, which says that nothing else of it was read."""
    if thread_id is None or event.event_id == thread_id:
        return True
    return event.thread_id is None if thread_id == MAIN else event.thread_id == thread_id
