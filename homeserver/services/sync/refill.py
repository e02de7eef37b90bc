"""Fills the tail at a start, so that clients who come back with the tokens they had are answered from memory.

The publications of before the restart are made again from the rows that they left. What a row no longer tells is left
to the tables: an event of which it cannot be seen that every member may see it is marked as one to ask about, as is
whatever happened to a user's own standing. Of registers (receipts, account data) the newest value is here, at its
position: that is also what the tables answer. Where a change cannot be made again at all, the tail begins after it.
Push rules' notices are not made again: a View counts only what comes after it was made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeserver.domain.event import StateKey
from homeserver.domain.identifiers import domain_of
from homeserver.domain.relations import relation_of
from homeserver.services.client_form import redaction_target, replaced_members, with_redacts
from homeserver.services.messaging.presence import Presence
from homeserver.services.messaging.receipts import PRIVATE
from homeserver.services.messaging.typing import Typing
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.append import HEROES, NAMING
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.recent import RecentChange, RecentData, RecentEvent, RecentMembership
from homeserver.storage.store import Store
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.publications import (
    AccountDataItem,
    EventItem,
    Publication,
    ReceiptItem,
    StateItem,
    Summary,
)
from homeserver.streams.tail import Tail

MAX_EVENTS = 5_000
MAX_BYTES = 8 << 20
# Of each other kind of row. A merge of branches, or a burst of receipts, leaves many.
MAX_ROWS = 20_000


class Refill:
    """Called once, before anything is published. `max_rows` bounds each other kind of rows than events."""

    def __init__(
        self,
        database: Persistence,
        tail: Tail,
        typing: Typing,
        presence: Presence,
        server_name: str,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._database = database
        self._tail = tail
        self._typing = typing
        self._presence = presence
        self._server_name = server_name
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_rows = max_rows

    async def __call__(self) -> None:
        upto = self._tail.start
        in_memory = [*await self._typing.resume(), *await self._presence.resume()]
        floor, publications = await self._database.read_long(lambda store: self._read(store, upto))
        publications += [one for one in in_memory if floor < one.position <= upto]
        # Sorting keeps what is of one position in the order in which it was published.
        publications.sort(key=lambda publication: publication.position)
        self._tail.fill(floor, publications, self._typing.lost_before)

    def _read(self, store: Store, upto: int) -> tuple[int, list[Publication]]:
        """All publications up to `upto` and after a position, and that position."""
        most, most_bytes = self._max_events, self._max_bytes
        floor = max(store.recent.find_floor(upto, most, most_bytes), store.recent.last_reset(upto))
        events = store.recent.list_events(floor, upto, most + 1)
        if len(events) > most:
            floor = events[0].row.anchor or 0
        changes = store.recent.list_changes(floor, upto, self._max_rows + 1)
        floor = self._raised(floor, [change.position for change in changes])
        memberships = store.recent.list_memberships(floor, upto, self._max_rows + 1)
        floor = self._raised(floor, [membership.position for membership in memberships])
        receipts = store.recent.list_receipts(floor, upto, self._max_rows + 1)
        floor = self._raised(floor, [row.position for row, _ in receipts])
        data = store.recent.list_data(floor, upto, self._max_rows + 1, most_bytes)
        floor = self._raised(floor, [row.position for row in data])
        floor = max((floor, *(row.position for row in data if not row.fits)))
        changed = _by_place(change for change in changes if change.position > floor)
        publications = _events(store, [event for event in events if (event.row.anchor or 0) > floor], changed)
        publications += self._standings(changed, memberships)
        for row, room_id in receipts:
            item = ReceiptItem(row.room, room_id, row.user_id, row.type, row.thread_id or None, row.event_id, row.ts)
            key = user_key(row.user_id) if row.type == PRIVATE else room_key(row.room)
            publications.append(Publication(row.position, (key,), item))
        publications += map(_account_data, data)
        return floor, [publication for publication in publications if publication.position > floor]

    def _standings(self, changed: "_Changed", memberships: Sequence[RecentMembership]) -> Iterable[Publication]:
        """Tells users of this server that their standing in a room may be another since then."""
        touched: dict[tuple[int, int, str], set[str]] = {}
        for change in changed.values():
            users = {state_key for type, state_key in change.events if type == "m.room.member"}
            touched[(change.position, change.room, change.room_id)] = users
        for one in memberships:
            touched.setdefault((one.position, one.room, one.room_id), set()).add(one.user_id)
        for (position, room, room_id), users in touched.items():
            keys = tuple(user_key(user_id) for user_id in users if self._is_local(user_id))
            if keys:
                yield Publication(position, keys, StateItem(room, room_id))

    def _raised(self, floor: int, positions: Sequence[int]) -> int:
        """The floor if these are all rows (oldest first), else the position of the first that is one too many."""
        return floor if len(positions) <= self._max_rows else positions[0]

    def _is_local(self, user_id: str) -> bool:
        return ":" in user_id and domain_of(user_id) == self._server_name


def _account_data(row: RecentData) -> Publication:
    room = None if row.room == GLOBAL else row.room
    item = AccountDataItem(row.user_id, room, row.type, row.content)
    return Publication(row.position, (user_key(row.user_id),), item)


@dataclass(frozen=True, slots=True)
class _Change:
    """What changed in one room's state at one position: which event stands at each key since then."""

    room: int
    room_id: str
    position: int
    events: dict[StateKey, int | None]

    @property
    def names(self) -> bool:
        """Whether who is in the room, or what it is called, follows from it."""
        return any(type == "m.room.member" or type in NAMING for type, _ in self.events)


# By room and position.
_Changed = Mapping[tuple[int, int], _Change]


def _by_place(changes: Iterable[RecentChange]) -> _Changed:
    found: dict[tuple[int, int], _Change] = {}
    for one in changes:
        change = found.setdefault((one.room, one.position), _Change(one.room, one.room_id, one.position, {}))
        change.events[(one.type, one.state_key)] = one.event
    return found


def _events(store: Store, events: Sequence[RecentEvent], changed: _Changed) -> list[Publication]:
    """Of events, oldest first, and of the state that changed at their places or at others of the same range."""
    summaries = _summaries(store, {room for (room, _), change in changed.items() if change.names})
    redacted = _redacted(store, [event.row for event in events])
    open_to_all = _open_to_all(events)
    publications: list[Publication] = []
    told: dict[tuple[int, int], int] = {}
    for event in events:
        row = event.row
        place = (row.room, row.anchor or 0)
        change = changed.get(place)
        item = _event_item(
            event,
            for_all_joined=row.number in open_to_all and row.redacted_by is None,
            is_current=change is not None and row.number in change.events.values(),
            summary=summaries.get(row.room) if change is not None and change.names else None,
            redacted=redacted.get(row.event_id),
        )
        publications.append(Publication(place[1], (room_key(row.room),), item))
        told[place] = row.number
    for place, change in changed.items():
        others = tuple(key for key, number in change.events.items() if number is None or number != told.get(place))
        if others:
            item_of_others = StateItem(change.room, change.room_id, others)
            publications.append(Publication(change.position, (room_key(change.room),), item_of_others))
    return publications


def _summaries(store: Store, rooms: set[int]) -> dict[int, Summary]:
    """As they are now: of several changes of a room, a client is told the last."""
    heroes = store.recent.list_first_members(rooms, HEROES + 1)
    rows = store.rooms.list_by_numbers(list(rooms))
    return {row.number: Summary(row.joined, row.invited, tuple(heroes[row.number])) for row in rows}


def _redacted(store: Store, rows: Iterable[EventRow]) -> dict[str, tuple[str, str]]:
    """By the id of the redaction: which event it took the content of, and what is left of that."""
    targets = {redaction_target(row.client) for row in rows if row.type == "m.room.redaction"}
    found = store.events.list_by_ids(target for target in targets if target is not None)
    return {row.redacted_by: (row.event_id, row.client) for row in found.values() if row.redacted_by is not None}


def _open_to_all(events: Sequence[RecentEvent]) -> set[int]:
    """The numbers of those events that certainly met the current state of their room: whoever was joined may see them.

    Told backwards from the end of each room: an event that follows one other, after which it was all that ended the
    room, had the whole of the room before it. Beyond the first event that does not, nothing is certain.
    """
    certain: set[int] = set()
    ends: dict[int, list[int]] = {}
    for event in reversed(events):
        row = event.row
        end = ends.setdefault(row.room, event.extremities)
        if end != [row.number] or row.gap_before or len(event.prev) > 1:
            ends[row.room] = []
        elif not event.prev:
            certain.add(row.number)
        elif event.follows_seen and event.same_state:
            certain.add(row.number)
            ends[row.room] = event.prev
        else:
            ends[row.room] = []
    return certain


def _event_item(
    event: RecentEvent,
    *,
    for_all_joined: bool,
    is_current: bool,
    summary: Summary | None,
    redacted: tuple[str, str] | None,
) -> EventItem:
    row = event.row
    content = parse_members(row.client)["content"]
    membership = content.get("membership") if row.type == "m.room.member" else None
    unsigned = ""
    if row.replaced_id is not None and row.replaced_client is not None:
        unsigned = replaced_members(row.replaced_id, parse_members(row.replaced_client)["content"])
    return EventItem(
        room=row.room,
        room_id=event.room_id,
        number=row.number,
        event_id=row.event_id,
        sender=row.sender,
        type=row.type,
        state_key=row.state_key,
        membership=membership,
        origin_server_ts=row.origin_server_ts,
        client=with_redacts(row.client) if row.type == "m.room.redaction" else row.client,
        unsigned=unsigned,
        device_id=row.device_id,
        txn_id=row.txn_id,
        classes={},
        named={},
        thread_root=row.thread_id,
        relates=relation_of(content) is not None,
        for_all_joined=for_all_joined,
        is_current=is_current,
        gap_before=row.gap_before,
        summary=summary,
        redacted=redacted,
        replaces=row.replaced_id,
    )
