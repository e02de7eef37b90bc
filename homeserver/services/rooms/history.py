"""Reading a room's history: pages, single events, and what stands around an event.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from homeserver.domain.errors import Forbidden
from homeserver.domain.filters import EventFilter
from homeserver.ports import Clock
from homeserver.services.access import ReadableRoom, as_readable, readable_event, visible_events
from homeserver.services.aggregations import Onlooker, onlooker_of
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.pages import FIRST, LAST, MAX_LIMIT, PageRequest, beside, plain_page
from homeserver.services.rooms.remote.backfilling import Backfilling, Gap
from homeserver.services.tokens import parse_place, write_place
from homeserver.services.viewer import Viewer, ignored_users, wanted_events
from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

T = TypeVar("T")

# A page with a narrow filter looks through at most this many events; its `end` says where to go on.
MAX_LOOKED_AT = 2_000
# Gaps that are filled for one page.
MAX_FILLS = 5

Seen = list[tuple[EventRow, str | None]]


class Beyond(Protocol):
    """Other servers, as far as they have history that we do not have."""

    async def fill(self, gap: Gap) -> bool:
        """Whether the gap is not what it was: filled, in part or whole, or found to be none."""
        ...


class GapInTheWay(Exception):
    """Events are missing right where a page would go on: at `place` stands the first one after them."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


class History:
    """`beyond` is None where this server talks to no other: then readers pass over gaps."""

    def __init__(
        self, database: Persistence, clock: Clock, backfilling: Backfilling, beyond: Beyond | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._backfilling = backfilling
        self._beyond = beyond

    async def page(self, user_id: str, device_id: str, request: PageRequest) -> bytes:
        """The JSON of `chunk`, `start`, `state` and, if there may be more, `end`. Raises Forbidden, BadRequest."""
        start = (LAST if request.backwards else FIRST) if request.start is None else parse_place(request.start)
        stop = (FIRST if request.backwards else LAST) if request.stop is None else parse_place(request.stop)

        def work(store: Store, may_fill: bool) -> bytes:
            reader = store.memberships.find_reader(user_id, request.room_id)
            if reader is None:
                raise Forbidden("You are not in this room")
            room = as_readable(store, user_id, reader.row, reader.membership)
            begin = start
            if room.left_at is not None and request.backwards:
                begin = min(start, Place(room.left_at))
            if request.start is None and request.backwards:
                begin = Place(room.row.last_anchor if room.left_at is None else room.left_at)
            last = stop if room.left_at is None or request.backwards else min(stop, Place(room.left_at))
            onlooker = Onlooker(room, user_id, ignored_users(reader.ignored))
            form = ClientForm(user_id, device_id, self._clock.now_ms())
            plain = None if reader.has_gaps else plain_page(store, form, onlooker, request, begin, last)
            if plain is None:
                seen, end = self._walk(store, onlooker, request, begin, last, may_fill)
                rows = [row for row, _ in seen]
                form.prepare(store, rows)
                form.bundle(store, onlooker, rows)
                chunk, senders = self._events(form, seen, request.room_id), {row.sender for row in rows}
                first = rows[:1]
            else:
                chunk, senders = ",".join([one.text for one in plain.events]), {one.sender for one in plain.events}
                wanted = plain.events[:1] if request.filter.lazy_load_members else []
                first, end = list(store.events.list_by_numbers(one.number for one in wanted).values()), plain.end
            # "This will be the same as the value given in `from`."
            came_from = write_place(begin) if request.start is None else request.start
            parts = [f'"chunk":[{chunk}]', f'"start":{quote(came_from)}']
            if end is not None:
                parts.append(f'"end":"{write_place(end)}"')
            if request.filter.lazy_load_members and first:
                members = self._members(store, first[0], senders)
                form.prepare(store, [row for row, _ in members])
                parts.append(f'"state":[{self._events(form, members, request.room_id)}]')
            return f"{{{','.join(parts)}}}".encode()

        return await self._read(request.room_id, work)

    async def _read(self, room_id: str, work: Callable[[Store, bool], T]) -> T:
        """What `work` reads, after the gaps in its way were filled, as far as other servers can."""
        if self._beyond is not None:
            for _ in range(MAX_FILLS):
                try:
                    return await self._database.read(lambda store: work(store, True))
                except GapInTheWay as found:
                    gap = await self._backfilling.find_gap(room_id, found.place, found.place)
                if gap is not None and not await self._beyond.fill(gap):
                    break
        return await self._database.read(lambda store: work(store, False))

    async def event(self, user_id: str, device_id: str, room_id: str, event_id: str) -> bytes:
        """The JSON of the event. Raises NotFound, Forbidden."""

        def work(store: Store) -> bytes:
            room, row = readable_event(store, user_id, room_id, event_id)
            form = ClientForm(user_id, device_id, self._clock.now_ms())
            form.prepare(store, [row])
            form.bundle(store, onlooker_of(store, room, user_id), [row])
            return self._events(form, visible_events(store, room, user_id, [row]), room_id).encode()

        return await self._database.read(work)

    async def context(
        self, user_id: str, device_id: str, room_id: str, event_id: str, limit: int, filter: EventFilter
    ) -> bytes:
        """The JSON of an event with about `limit` events around it, and the state at the last of them."""

        def work(store: Store, may_fill: bool) -> bytes:
            room, row = readable_event(store, user_id, room_id, event_id)
            place = Place(row.anchor or 0, row.rank)
            half = max(limit // 2, 0)
            onlooker = onlooker_of(store, room, user_id)
            earlier = Place(place.anchor, place.rank - 1)
            before, start = self._side(store, onlooker, filter, earlier, half, True, may_fill)
            after, end = self._side(store, onlooker, filter, place, limit - half, False, may_fill)
            last = after[-1][0] if after else row
            # What ignored people set is state like any other.
            state = list(
                wanted_events(self._state_at(store, room, last), Viewer(user_id, frozenset(), filter), room_id)
            )
            if filter.lazy_load_members:
                speakers = {one.sender for one, _ in [*before, *after]} | {row.sender}
                state = [one for one in state if one.type != "m.room.member" or one.state_key in speakers]
            form = ClientForm(user_id, device_id, self._clock.now_ms())
            around: Seen = [*before, *visible_events(store, room, user_id, [row]), *after]
            form.prepare(store, [one for one, _ in around] + state)
            form.bundle(store, onlooker, [one for one, _ in around])
            middle = self._events(form, around[len(before) : len(before) + 1], room_id)
            states = ",".join(form.event(one, None, quote(room_id)) for one in state)
            return (
                f'{{"start":"{write_place(start)}","end":"{write_place(end)}","event":{middle},'
                f'"events_before":[{self._events(form, before, room_id)}],'
                f'"events_after":[{self._events(form, after, room_id)}],"state":[{states}]}}'
            ).encode()

        return await self._read(room_id, work)

    def _side(
        self,
        store: Store,
        onlooker: Onlooker,
        filter: EventFilter,
        start: Place,
        limit: int,
        backwards: bool,
        may_fill: bool,
    ) -> tuple[Seen, Place]:
        request = PageRequest(onlooker.room.row.room_id, None, None, backwards, limit, filter)
        if limit == 0:
            return [], start
        seen, end = self._walk(store, onlooker, request, start, FIRST if backwards else LAST, may_fill)
        if end is None and seen:
            last = seen[-1][0]
            end = Place(last.anchor or 0, last.rank - 1 if backwards else last.rank)
        return seen, start if end is None else end

    def _walk(
        self, store: Store, onlooker: Onlooker, request: PageRequest, start: Place, stop: Place, may_fill: bool
    ) -> tuple[Seen, Place | None]:
        """The events of a page, and where the next one starts; None: there is nothing more.

        A page ends at a gap. If it `may_fill` gaps, it raises GapInTheWay instead of ending early, or of beginning
        beyond one: else the next page goes on there.
        """
        room, user_id, ignored = onlooker.room, onlooker.user_id, onlooker.ignored
        viewer = Viewer(user_id, ignored, request.filter)
        limit = min(request.limit, MAX_LIMIT)
        seen: Seen = []
        if limit <= 0:
            return seen, start
        if may_fill and request.backwards:
            self._check_above(store, room.row, start)
        place, looked_at = start, 0
        while True:
            # Mostly all events are wanted and visible: then one more than the page holds is enough.
            count = limit + 1 if looked_at == 0 and request.filter.is_everything and not ignored else 250
            if request.backwards:
                rows = store.history.page_backwards(room.row.number, place, stop, count)
            else:
                rows = store.history.page_forwards(room.row.number, place, stop, count)
            is_last = len(rows) < count
            gap = _find_gap(rows, request.backwards, looked_at == 0 and not may_fill)
            if gap is not None:
                rows = rows[: gap + 1] if request.backwards else rows[:gap]
            for row, membership in visible_events(
                store, room, user_id, list(wanted_events(rows, viewer, room.row.room_id))
            ):
                if len(seen) == limit:
                    return seen, beside(seen[-1][0], request.backwards)
                seen.append((row, membership))
            looked_at += len(rows)
            if rows:
                place = beside(rows[-1], request.backwards)
            if gap is not None:
                if may_fill and len(seen) < limit:
                    raise GapInTheWay(self._first_after(store, room.row, place))
                return seen, place
            if is_last:
                return seen, None
            if looked_at >= MAX_LOOKED_AT:
                return seen, place

    def _check_above(self, store: Store, room: RoomRow, start: Place) -> None:
        """Raises GapInTheWay if the event after a place, where a page shall go backwards from, stands after a gap."""
        if start.anchor >= room.last_anchor and start.rank >= 0:
            return
        above = store.history.page_forwards(room.number, start, LAST, 1)
        if above and above[0].gap_before:
            raise GapInTheWay(Place(above[0].anchor or 0, above[0].rank))

    @staticmethod
    def _first_after(store: Store, room: RoomRow, place: Place) -> Place:
        (row,) = store.history.page_forwards(room.number, place, LAST, 1)
        return Place(row.anchor or 0, row.rank)

    @staticmethod
    def _members(store: Store, first: EventRow, senders: Iterable[str]) -> Seen:
        """The member events of those who speak on a page, as of its first event."""
        group = first.state_after or first.state_before or 0
        keys = store.state.number_keys({("m.room.member", sender) for sender in senders})
        numbers = {store.state.find_in_group(group, key) for key in keys.values()}
        rows = store.events.list_by_numbers(number for number in numbers if number is not None)
        return [(row, None) for row in rows.values()]

    @staticmethod
    def _state_at(store: Store, room: ReadableRoom, row: EventRow) -> list[EventRow]:
        group = row.state_after or row.state_before or room.row.state_group
        return list(store.events.list_by_numbers(store.state.get_group(group).values()).values())

    @staticmethod
    def _events(form: ClientForm, seen: Seen, room_id: str) -> str:
        room = quote(room_id)
        return ",".join(form.event(row, membership, room) for row, membership in seen)


def _find_gap(rows: Sequence[EventRow], backwards: bool, beyond_first: bool) -> int | None:
    """The index of the first of these events before which others are missing. `beyond_first`: not right at the
    beginning of a page that goes forwards."""
    begin = 1 if beyond_first and not backwards else 0
    return next((index for index, row in enumerate(rows[begin:], begin) if row.gap_before), None)
