"""The events of a user's rooms, or of one room at which somebody looks, in the order in which they came: GET /events.

From before /sync, and in its terms: a token is a sync token. Only events are told, not who types and what was read. The
events of a page are the oldest after its start, so nothing is left out however long somebody was away.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from homeserver.domain.errors import BadRequest
from homeserver.domain.filters import EVERY_EVENT, SyncFilter
from homeserver.ports import Clock
from homeserver.services.access import ReadableRoom, readable_room, visible_events
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.persistence import Persistence
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.tables import Tables
from homeserver.services.tokens import SyncToken, parse_sync_token
from homeserver.services.viewer import Viewer, ignored_users, wanted_events
from homeserver.storage.events import EventRow
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.store import Store
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.notifier import Notifier, Watcher
from homeserver.streams.publisher import Publisher

PAGE = 100


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens; to one room, or to all that the user is in."""

    user_id: str
    device_id: str
    room_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    """`events` are JSON texts, and all there are up to the position `end`. `keys`: where more will be heard of."""

    events: Sequence[str]
    end: int
    is_full: bool
    keys: Sequence[str]


class EventStream:
    """Lives on the loop."""

    def __init__(
        self, database: Persistence, tables: Tables, publisher: Publisher, notifier: Notifier, clock: Clock, epoch: str
    ) -> None:
        self._database = database
        self._tables = tables
        self._publisher = publisher
        self._notifier = notifier
        self._clock = clock
        self._epoch = epoch

    async def __call__(self, listener: Listener, start: str | None, timeout: float) -> bytes:
        """The JSON of `start`, `end` and `chunk`, after at most `timeout` seconds if there is nothing to tell.

        Without `start`: from now on. Raises BadRequest for a token that leads nowhere, Forbidden for a room that the
        listener may not read.
        """
        token = self.now() if start is None else parse_sync_token(start)
        if token.epoch != self._epoch or token.position > self._publisher.current():
            raise BadRequest("This token is of another life of the server: begin with /initialSync")
        watcher = Watcher()
        try:
            page = await self._wait(listener, token.position, timeout, watcher)
        finally:
            self._notifier.unwatch(watcher)
        end = SyncToken(self._epoch, page.end, token.to_device)
        return f'{{"start":"{token}","end":"{end}","chunk":[{",".join(page.events)}]}}'.encode()

    def now(self) -> SyncToken:
        """Where the stream ends."""
        return SyncToken(self._epoch, self._publisher.current())

    async def _wait(self, listener: Listener, after: int, timeout: float, watcher: Watcher) -> _Page:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            watcher.stirred = False
            watcher.dirty.clear()
            upto = self._publisher.current()
            page = await self._database.read(partial(self._page, listener=listener, after=after, upto=upto))
            if page.events or page.is_full or deadline <= loop.time():
                return page
            after = page.end
            new = [key for key in page.keys if key not in watcher.keys]
            self._notifier.watch(watcher, new)
            if new and self._publisher.current() > upto:
                continue  # what was published before it watched
            if not await watcher.wait(deadline - loop.time()) or not watcher.dirty:
                return page  # the time is up, or the server stops

    def _page(self, store: Store, listener: Listener, after: int, upto: int) -> _Page:
        user_id = listener.user_id
        if listener.room_id is None:
            request = SyncRequest(user_id, listener.device_id, SyncToken(self._epoch, after), 0, SyncFilter())
            outline = self._tables.outline(store, request, after, upto)
            rooms = {number: outline.rooms[number] for number in outline.told}
            ignored, joined = outline.ignored, list(outline.standing.joined)
            invites = list(outline.standing.invited.values())
        else:
            room = readable_room(store, user_id, listener.room_id)
            rooms, joined, invites = {room.row.number: room}, [room.row.number], []
            ignored = ignored_users(store.account_data.find(user_id, 0, "m.ignored_user_list"))
        rows = store.history.list_live_after(list(rooms), after, upto, PAGE)
        is_full = len(rows) == PAGE
        end = rows[-1].anchor or upto if is_full else upto
        form = ClientForm(user_id, listener.device_id, self._clock.now_ms())
        events = self._told(store, form, rooms, rows, Viewer(user_id, ignored, EVERY_EVENT))
        told = invite_events(store, form, [row for row in invites if row.position <= end])
        events += [event for _, event in told]
        return _Page(events, end, is_full, [user_key(user_id), *(room_key(number) for number in joined)])

    @staticmethod
    def _told(
        store: Store, form: ClientForm, rooms: Mapping[int, ReadableRoom], rows: Sequence[EventRow], viewer: Viewer
    ) -> list[str]:
        """Those of the events that the viewer may see and wants to, in their order."""
        seen: dict[int, str | None] = {}
        for number, room in rooms.items():
            own = wanted_events((row for row in rows if row.room == number), viewer, room.row.room_id)
            seen.update((row.number, at) for row, at in visible_events(store, room, viewer.user_id, list(own)))
        told = [row for row in rows if row.number in seen]
        form.prepare(store, told)
        return [form.event(row, seen[row.number], quote(rooms[row.room].row.room_id)) for row in told]


def invite_events(store: Store, form: ClientForm, invites: Sequence[MembershipRow]) -> list[tuple[str, str]]:
    """The events that invited the viewer to rooms, as JSON, each with the room's id."""
    rooms = {row.number: row.room_id for row in store.rooms.list_by_numbers([one.room for one in invites])}
    rows = store.events.list_by_numbers(one.event for one in invites)
    return [(rooms[row.room], form.event(row, None, quote(rooms[row.room]))) for row in rows.values()]
