"""The list of a room's threads: their roots, those with the newest replies first.

https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room
"""

from dataclasses import dataclass

from homeserver.domain.redaction import redact
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.ports import Clock
from homeserver.services.access import readable_room, visible_events
from homeserver.services.aggregations import Bundle, Onlooker, Seen, load_bundles, onlooker_of
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.persistence import Persistence
from homeserver.services.tokens import parse_place, write_place
from homeserver.storage.events import EventRow, join, split
from homeserver.storage.history import Place
from homeserver.storage.store import Store

LAST = Place(2**62)
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# A page of which the viewer may see little looks through at most this many threads; `next_batch` says where to go on.
MAX_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class ThreadsRequest:
    """`start` is a token; None: begin with the newest. `participated`: only threads in which the user takes part."""

    room_id: str
    start: str | None
    participated: bool
    limit: int


class Threads:
    def __init__(self, database: Persistence, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(self, user_id: str, device_id: str, request: ThreadsRequest) -> bytes:
        """The JSON of `chunk` and, if there may be more, `next_batch`. Raises Forbidden, BadRequest."""
        start = LAST if request.start is None else parse_place(request.start)

        def work(store: Store) -> bytes:
            room = readable_room(store, user_id, request.room_id)
            onlooker = onlooker_of(store, room, user_id)
            seen, bundles, end = _walk(store, onlooker, request, start)
            form = ClientForm(user_id, device_id, self._clock.now_ms(), bundles)
            form.prepare(store, [row for row, _ in seen])
            room_id = quote(request.room_id)
            chunk = ",".join(form.event(row, membership, room_id) for row, membership in seen)
            more = "" if end is None else f',"next_batch":"{write_place(end)}"'
            return f'{{"chunk":[{chunk}]{more}}}'.encode()

        return await self._database.read(work)


def _walk(
    store: Store, onlooker: Onlooker, request: ThreadsRequest, start: Place
) -> tuple[list[Seen], dict[str, Bundle], Place | None]:
    """The roots of a page, what is bundled with them, and where the next page starts; None: there is nothing more."""
    room, participant = onlooker.room, onlooker.user_id if request.participated else None
    seen, bundles, looked_at = list[Seen](), dict[str, Bundle](), 0
    while True:
        count = request.limit + 1
        page = store.threads.page(room.row.number, start, participant, count)
        rows = store.events.list_by_ids(root for root, _ in page)
        own = [row for root, _ in page if (row := rows.get(root)) is not None and row.room == room.row.number]
        visible = {row.event_id: (row, at) for row, at in visible_events(store, room, onlooker.user_id, own)}
        found = load_bundles(store, onlooker, [row for row, _ in visible.values()])
        bundles.update(found)
        for root, place in page:
            bundle = found.get(root)
            if bundle is None or bundle.thread is None:
                continue  # its root, or every reply, is hidden from the viewer
            if len(seen) == request.limit:
                return seen, bundles, place
            row, membership = visible[root]
            seen.append((_mute(store, onlooker, row), membership))
        if len(page) < count:
            return seen, bundles, None
        last = page[-1][1]
        start = Place(last.anchor, last.rank - 1)
        looked_at += count
        if looked_at >= MAX_LOOKED_AT:
            return seen, bundles, start


def _mute(store: Store, onlooker: Onlooker, row: EventRow) -> EventRow:
    """ "If the thread root event was sent by an ignored user, the event is returned redacted to the caller." """
    if row.sender not in onlooker.unwanted or row.redacted_by is not None:
        return row
    version, room_id = ROOM_VERSIONS[onlooker.room.row.version], onlooker.room.row.room_id
    event = join(version, room_id, row.event_id, *store.events.get_parts(row.number))
    return row._replace(client=split(redact(version, event.pdu))[0])
