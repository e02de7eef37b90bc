"""Finding the event that is closest to a moment.

By `origin_server_ts`, which each server sets as it likes: the place of an event in the history says nothing of it.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from typing import Protocol

from homeserver.domain.errors import NotFound
from homeserver.services.access import readable_room, visible_events
from homeserver.services.persistence import Persistence
from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.store import Store

# So many events are looked at in one query, and altogether, for one that the viewer may see.
PAGE = 50
MAX_LOOKED_AT = 1_000


class MissingHistory(Protocol):
    """Other servers of a room, which may hold what is missing here."""

    async def fetch_near(self, room_id: str, ts: int, backwards: bool) -> bool:
        """Asks which event is closest to `ts` and puts it, with what stands around it, into the gap where it belongs.
        False if nothing came."""
        ...


class Timestamps:
    """`elsewhere` is None where this server talks to no other."""

    def __init__(self, database: Persistence, elsewhere: MissingHistory | None = None) -> None:
        self._database = database
        self._elsewhere = elsewhere

    async def closest(self, user_id: str, room_id: str, ts: int, backwards: bool) -> tuple[str, int]:
        """The id and the time (ms) of the last visible event at or before `ts`, or the first one at or after it. Raises
        Forbidden, NotFound."""
        found, at_gap = await self._database.read(lambda store: _find(store, user_id, room_id, ts, backwards))
        if at_gap and self._elsewhere is not None and await self._elsewhere.fetch_near(room_id, ts, backwards):
            found, _ = await self._database.read(lambda store: _find(store, user_id, room_id, ts, backwards))
        if found is None:
            raise NotFound("No event was found in this direction")
        return found.event_id, found.origin_server_ts


def _find(store: Store, user_id: str, room_id: str, ts: int, backwards: bool) -> tuple[EventRow | None, bool]:
    """The event, and whether a closer one may be missing here."""
    room = readable_room(store, user_id, room_id)
    number, looked_at = room.row.number, 0
    last: int | None = None
    while looked_at < MAX_LOOKED_AT:
        rows = store.history.list_by_time(number, ts, last, PAGE, backwards=backwards)
        seen = visible_events(store, room, user_id, rows)
        if seen:
            return seen[0][0], _is_at_gap(store, number, seen[0][0], backwards)
        if len(rows) < PAGE:
            break
        ts, last, looked_at = rows[-1].origin_server_ts, rows[-1].number, looked_at + PAGE
    # Nothing is missing after the newest event.
    return None, backwards and store.history.find_gap(number, Place(2**62), Place(0, 0)) is not None


def _is_at_gap(store: Store, room: int, row: EventRow, backwards: bool) -> bool:
    """Whether events are missing just before the event, or just after it, on the side of the moment."""
    if not backwards:
        return row.gap_before
    following = store.history.page_forwards(room, Place(row.anchor or 0, row.rank), Place(2**62), 1)
    return any(one.gap_before for one in following)
