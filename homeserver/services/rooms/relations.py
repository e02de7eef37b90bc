"""Reading the relations of an event: the events that point at it, in pages.

Pages follow the history order of the room, so that their tokens are those of history and of sync.
https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from dataclasses import dataclass

from homeserver.domain.filters import EventFilter
from homeserver.ports import Clock
from homeserver.services.access import readable_event, visible_events
from homeserver.services.aggregations import Onlooker, Seen, onlooker_of
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.persistence import Persistence
from homeserver.services.tokens import parse_place, write_place
from homeserver.services.viewer import Viewer, wanted_events
from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.relations import Wanted
from homeserver.storage.store import Store

FIRST = Place(0, 0)
LAST = Place(2**62)
DEFAULT_LIMIT = 50
MAX_LIMIT = 1_000
# A page of which the viewer may see little looks through at most this many events; `next_batch` says where to go on.
MAX_LOOKED_AT = 2_000
# "Homeservers SHOULD traverse at least 3 levels of relationships."
MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """`start` and `stop` are tokens; None: the end (or the beginning) of the history. `rel_type` and `type` are None
    for all; `recurse` is None if it was not asked for at all."""

    room_id: str
    event_id: str
    rel_type: str | None
    type: str | None
    start: str | None
    stop: str | None
    backwards: bool
    limit: int
    recurse: bool | None

    @property
    def depth(self) -> int:
        return MAX_DEPTH if self.recurse else 1


class Relations:
    def __init__(self, database: Persistence, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(self, user_id: str, device_id: str, request: RelationsRequest) -> bytes:
        """The JSON of `chunk` and, if there may be more, `next_batch`. Raises NotFound, BadRequest."""
        newest, oldest = (request.start, request.stop) if request.backwards else (request.stop, request.start)
        upper = LAST if newest is None else parse_place(newest)
        lower = FIRST if oldest is None else parse_place(oldest)

        def work(store: Store) -> bytes:
            room, _ = readable_event(store, user_id, request.room_id, request.event_id)
            onlooker = onlooker_of(store, room, user_id)
            start, stop = (min(upper, Place(onlooker.upto)), lower)
            if not request.backwards:
                start, stop = stop, start
            seen, end = _walk(store, onlooker, request, start, stop)
            form = ClientForm(user_id, device_id, self._clock.now_ms())
            form.bundle(store, onlooker, [row for row, _ in seen])
            room_id = quote(request.room_id)
            events = ",".join(form.event(row, membership, room_id) for row, membership in seen)
            parts = [f'"chunk":[{events}]']
            if end is not None:
                parts.append(f'"next_batch":"{write_place(end)}"')
            if request.start is not None:
                parts.append(f'"prev_batch":{quote(request.start)}')
            if request.recurse is not None:
                parts.append(f'"recursion_depth":{request.depth}')
            return f"{{{','.join(parts)}}}".encode()

        return await self._database.read(work)


def _walk(
    store: Store, onlooker: Onlooker, request: RelationsRequest, start: Place, stop: Place
) -> tuple[list[Seen], Place | None]:
    """The events of a page, and where the next one starts; None: there is nothing more."""
    viewer = Viewer(onlooker.user_id, onlooker.ignored, EventFilter())
    wanted = Wanted(request.rel_type, request.type, request.depth)
    page = store.relations.page_backwards if request.backwards else store.relations.page_forwards
    room, seen, looked_at = onlooker.room, list[Seen](), 0
    while True:
        count = request.limit + 1
        numbers = page(room.row.number, request.event_id, wanted, start, stop, count)
        found = store.events.list_by_numbers(numbers)
        rows = [found[number] for number in numbers if number in found]
        chosen = list(wanted_events(rows, viewer, request.room_id))
        for row, membership in visible_events(store, room, onlooker.user_id, chosen):
            if len(seen) == request.limit:
                return seen, _beyond(seen[-1][0], request.backwards)
            seen.append((row, membership))
        if len(rows) < count:
            return seen, None
        start = _beyond(rows[-1], request.backwards)
        looked_at += count
        if looked_at >= MAX_LOOKED_AT:
            return seen, start


def _beyond(row: EventRow, backwards: bool) -> Place:
    """Where the next page starts after this event."""
    return Place(row.anchor or 0, row.rank - 1 if backwards else row.rank)
