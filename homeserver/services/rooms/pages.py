"""Plain pages of a room's history, which the database writes: what almost every page is.

A page is plain if its reader, who has been joined since before it, sees and wants every event of it. Any other page is
walked event by event (`homeserver.services.rooms.history`), with the same result.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.domain.filters import EventFilter
from homeserver.services.access import joined_since
from homeserver.services.aggregations import Onlooker
from homeserver.services.client_form import ClientForm, quote
from homeserver.storage.event_texts import EventText
from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.store import Store

FIRST = Place(0, 0)
LAST = Place(2**62)
MAX_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`start` and `stop` are tokens; None: the end (or the beginning) of the history."""

    room_id: str
    start: str | None
    stop: str | None
    backwards: bool
    limit: int
    filter: EventFilter


@dataclass(frozen=True, slots=True)
class PlainPage:
    """`end`: where the next page starts; None: there is nothing more."""

    events: Sequence[EventText]
    end: Place | None


def plain_page(
    store: Store, form: ClientForm, onlooker: Onlooker, request: PageRequest, start: Place, stop: Place
) -> PlainPage | None:
    """None if the page is not plain. Of a room without gaps in its history."""
    since = joined_since(onlooker.room)
    limit = min(request.limit, MAX_LIMIT)
    if since is None or limit <= 0 or onlooker.ignored or not request.filter.is_everything:
        return None
    room_id = quote(request.room_id)
    asker = form.asker(',"membership":"join"', f',"room_id":{room_id}')
    room = onlooker.room.row.number
    texts = store.event_texts.page(asker, room, start, stop, limit + 1, backwards=request.backwards)
    if texts and min(texts[0].anchor or 0, texts[-1].anchor or 0) <= since:
        return None
    end = beside(texts[limit - 1], request.backwards) if len(texts) > limit else None
    events = form.complete(store, texts[:limit], "join", room_id, onlooker)
    return PlainPage(events, end)


def beside(row: EventRow | EventText, backwards: bool) -> Place:
    """Where a page goes on that ended with this event."""
    return Place(row.anchor or 0, row.rank - 1 if backwards else row.rank)
