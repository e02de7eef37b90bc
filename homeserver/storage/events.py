"""The rows of events.

A PDU is stored in two parts, so that answers to clients are made by joining strings and never by parsing: `client`
holds the members that clients see, `wire` the others, both as JSON without the outer braces.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from homeserver.domain.canonical import canonical_json, parse_json
from homeserver.domain.errors import NotFound
from homeserver.domain.event import Event, read_event
from homeserver.domain.versions import EventIdFormat, RoomVersion
from homeserver.storage.caches import ByteCache
from homeserver.storage.transaction import Row, Statement, Transaction

OTHER_MEMBERS = ("unsigned", "event_id", "room_id")
MANY_DIGITS = re.compile("[0-9]{19}")
CLIENT_MEMBERS = ("content", "origin_server_ts", "redacts", "sender", "state_key", "type")

COLUMNS = (
    "e.number, e.event_id, e.room, e.position, e.anchor, e.rank, e.gap_before, e.depth, e.origin_server_ts, e.type,"
    " k.state_key, e.sender, e.device_id, e.txn_id, e.state_before, e.state_after, e.rejected, e.soft_failed,"
    " e.redacted_by, e.thread_id, e.ordinals, e.client, b.event_id, b.client"
)
TABLES = "events e LEFT JOIN state_keys k ON k.number = e.key LEFT JOIN events b ON b.number = e.replaces"

NEW_ROW = (
    "events (number, event_id, room, position, anchor, rank, live, gap_before, depth, origin_server_ts,"
    " type, key, sender, device_id, txn_id, prev, auth, state_before, state_after, partial_state, rejected,"
    " soft_failed, replaces, thread_id, ordinals, client, wire)"
)
ADD = Statement(
    "add_event",
    "bigint, text, bigint, bigint, bigint, int, boolean, boolean, bigint, bigint, text, int, text, text, text,"
    " bigint[], bigint[], bigint, bigint, boolean, text, text, bigint, text, int[], text, text",
    f"INSERT INTO {NEW_ROW} VALUES (" + ", ".join(f"${n}" for n in range(1, 28)) + ")",
)
FIND = Statement("find_event", "text", f"SELECT {COLUMNS} FROM {TABLES} WHERE e.event_id = $1")
LIST = Statement("list_events", "bigint[]", f"SELECT {COLUMNS} FROM {TABLES} WHERE e.number = ANY($1)")
LIST_BY_IDS = Statement("list_events_by_ids", "text[]", f"SELECT {COLUMNS} FROM {TABLES} WHERE e.event_id = ANY($1)")
LIST_STORED = Statement(
    "list_stored_events",
    "bigint[]",
    "SELECT number, event_id, client, wire, rejected IS NOT NULL, prev, auth, redacted_by IS NOT NULL FROM events"
    " WHERE number = ANY($1)",
)
FIND_NUMBERS = Statement("find_event_numbers", "text[]", "SELECT event_id, number FROM events WHERE event_id = ANY($1)")
FIND_PLACES = Statement(
    "find_event_places",
    "text[]",
    "SELECT event_id, number, coalesce(state_after, state_before) FROM events WHERE event_id = ANY($1)"
    " AND state_before IS NOT NULL",
)
HELD = Statement(
    "list_held_events",
    "text[]",
    "SELECT event_id, number, room, state_before IS NOT NULL, rejected IS NOT NULL, redacted_by IS NOT NULL,"
    " gap_before AND anchor IS NULL FROM events WHERE event_id = ANY($1)",
)
# An outlier gets its place. What of it was published keeps its position.
PLACE = Statement(
    "place_event",
    "bigint, bigint, bigint, int, boolean, boolean, bigint[], bigint[], bigint, bigint, boolean, text, text, bigint,"
    " text, int[], text, text",
    "UPDATE events SET position = coalesce(position, $2), anchor = $3, rank = $4, live = $5, gap_before = $6,"
    " prev = $7, auth = $8, state_before = $9, state_after = $10, partial_state = $11, rejected = $12,"
    " soft_failed = $13, replaces = $14, thread_id = $15, ordinals = $16, client = $17, wire = $18 WHERE number = $1",
)
CLOSE_GAPS = Statement("close_gaps", "bigint[]", "UPDATE events SET gap_before = false WHERE number = ANY($1)")
LINK = Statement("link_event", "bigint, bigint[]", "UPDATE events SET prev = $2 WHERE number = $1")
REDACT = Statement(
    "redact_event",
    "bigint, text, text, text",
    "UPDATE events SET redacted_by = $2, client = $3, wire = $4 WHERE number = $1",
)


class EventRow(NamedTuple):
    """An event as a row tells it to those who show it. `replaced_*`: of the state event whose place it took.

    A tuple like the row itself: thousands are made for one answer, and a dataclass takes five times as long to make.
    """

    number: int
    event_id: str
    room: int
    position: int | None
    anchor: int | None
    rank: int
    gap_before: bool
    depth: int
    origin_server_ts: int
    type: str
    state_key: str | None
    sender: str
    device_id: str | None
    txn_id: str | None
    state_before: int | None
    state_after: int | None
    rejected: str | None
    soft_failed: str | None
    redacted_by: str | None
    thread_id: str | None
    ordinals: list[int]
    client: str
    replaced_id: str | None
    replaced_client: str | None

    @property
    def visible(self) -> bool:
        """In the timeline at all: neither rejected nor soft-failed nor an outlier."""
        return self.anchor is not None


class NewEvent(NamedTuple):
    """A row to be written. Numbers are internal; `client` and `wire` come from `split`."""

    number: int
    event: Event
    room: int
    position: int | None
    anchor: int | None
    client: str
    wire: str
    prev: list[int]
    auth: list[int]
    state_before: int | None
    state_after: int | None
    key: int | None
    replaces: int | None
    ordinals: list[int]
    thread_id: str | None = None
    rank: int = 0
    live: bool = True
    gap_before: bool = False
    device_id: str | None = None
    txn_id: str | None = None
    partial_state: bool = False
    rejected: str | None = None
    soft_failed: str | None = None

    def values(self) -> tuple[Any, ...]:
        event = self.event
        return (
            self.number, event.event_id, self.room, self.position, self.anchor, self.rank, self.live, self.gap_before,
            event.depth, event.origin_server_ts, event.type, self.key, event.sender, self.device_id, self.txn_id,
            self.prev, self.auth, self.state_before, self.state_after, self.partial_state, self.rejected,
            self.soft_failed, self.replaces, self.thread_id, self.ordinals, self.client, self.wire,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of an event by its id. `placed`: it stands in the graph of its room with its state; else it is an
    outlier, held because others cite it. `hides_gap`: nobody sees it, and something is missing before it."""

    number: int
    room: int
    placed: bool
    rejected: bool
    redacted: bool
    hides_gap: bool = False


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its internal number and those of its references."""

    number: int
    event: Event
    rejected: bool
    prev: tuple[int, ...]
    auth: tuple[int, ...]


def split(pdu: Mapping[str, Any]) -> tuple[str, str]:
    """`client` and `wire` of a PDU. What is unsigned is not kept; ids stand in columns."""
    client = {member: pdu[member] for member in CLIENT_MEMBERS if member in pdu}
    wire = {member: value for member, value in pdu.items() if member not in CLIENT_MEMBERS + OTHER_MEMBERS}
    # Old rooms hold numbers beyond 64 bits: what writes canonical JSON can write them.
    return canonical_json(client, checked=True)[1:-1].decode(), canonical_json(wire, checked=True)[1:-1].decode()


def join(version: RoomVersion, room_id: str, event_id: str, client: str, wire: str) -> Event:
    """The event of `split`'s parts."""
    pdu = parse_members(f"{client},{wire}")
    if not version.room_id_is_create_hash or pdu["type"] != "m.room.create":
        pdu["room_id"] = room_id
    if version.event_ids is EventIdFormat.CHOSEN:
        pdu["event_id"] = event_id
    return read_event(version, event_id, pdu, room_id)


def parse_members(text: str) -> dict[str, Any]:
    """The object of `client`, or of another of `split`'s parts."""
    whole = f"{{{text}}}"
    members: dict[str, Any]
    if MANY_DIGITS.search(whole):
        # An old room may hold integers beyond 64 bits: orjson makes floats of them, or fails.
        members = parse_json(whole.encode(), strict=False)
    else:
        members = orjson.loads(whole)
    return members


def weigh(stored: StoredEvent) -> int:
    """Bytes of memory, roughly."""
    return 1500 + _weigh_value(stored.event.pdu)


def _weigh_value(value: Any) -> int:
    kind = type(value)
    if kind is str:
        return 60 + 2 * len(value)
    if kind is dict:
        return 200 + sum([80 + 2 * len(key) + _weigh_value(one) for key, one in value.items()])
    if kind is list:
        return 60 + sum([8 + _weigh_value(one) for one in value])
    return 32


EventCache = ByteCache[int, StoredEvent]


class Events:
    def __init__(self, transaction: Transaction, cache: EventCache) -> None:
        self._transaction = transaction
        self._cache = cache

    def add(self, event: NewEvent) -> None:
        self._transaction.defer(ADD, *event.values())

    def add_many(self, events: Iterable[NewEvent]) -> None:
        """As `add`, of so many that a statement for each would cost more than the rows."""
        self._transaction.copy_rows(NEW_ROW, [event.values() for event in events])

    def place(self, event: NewEvent) -> None:
        """As `add`, of an event that is held as an outlier."""
        self._transaction.defer(
            PLACE, event.number, event.position, event.anchor, event.rank, event.live, event.gap_before, event.prev,
            event.auth, event.state_before, event.state_after, event.partial_state, event.rejected, event.soft_failed,
            event.replaces, event.thread_id, event.ordinals, event.client, event.wire,
        )  # fmt: skip

    def close_gaps(self, numbers: Iterable[int]) -> None:
        """Nothing is missing before these events any more."""
        self._transaction.defer(CLOSE_GAPS, list(numbers))

    def link(self, number: int, prev: Sequence[int]) -> None:
        """What an event follows, as far as it is held by now."""
        self._transaction.defer(LINK, number, list(prev))
        self._cache.drop(number)

    def list_held(self, event_ids: Iterable[str]) -> dict[str, Held]:
        """Those of `event_ids` that are stored, in whatever way."""
        wanted = list(event_ids)
        return {row[0]: Held(*row[1:]) for row in self._transaction.fetch(HELD, wanted)} if wanted else {}

    def find(self, event_id: str) -> EventRow | None:
        rows = self._transaction.fetch(FIND, event_id)
        return EventRow(*rows[0]) if rows else None

    def get(self, event_id: str) -> EventRow:
        """Raises NotFound."""
        row = self.find(event_id)
        if row is None:
            raise NotFound(f"No event {event_id} is known here")
        return row

    def list_by_numbers(self, numbers: Iterable[int]) -> dict[int, EventRow]:
        wanted = list(numbers)
        return {row[0]: EventRow._make(row) for row in self._transaction.fetch(LIST, wanted)} if wanted else {}

    def list_by_ids(self, event_ids: Iterable[str]) -> dict[str, EventRow]:
        wanted = list(event_ids)
        return {row[1]: EventRow._make(row) for row in self._transaction.fetch(LIST_BY_IDS, wanted)} if wanted else {}

    def list_sent(self, room: int, sender: str, device_id: str, type: str, txn_id: str) -> list[EventRow]:
        """The events of a type that a device sent with a transaction id: of redactions, one for each target."""
        where = "e.txn_id = %s AND e.room = %s AND e.sender = %s AND e.device_id = %s AND e.type = %s"
        sql = f"SELECT {COLUMNS} FROM {TABLES} WHERE {where}"
        return [EventRow(*row) for row in self._transaction.text(sql, txn_id, room, sender, device_id, type)]

    def find_numbers(self, event_ids: Sequence[str]) -> dict[str, int]:
        """The internal numbers of those of `event_ids` that are known."""
        return dict(_pair(row) for row in self._transaction.fetch(FIND_NUMBERS, list(event_ids))) if event_ids else {}

    def list_places(self, event_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Of those events that are known with their state: (number, state group after the event)."""
        rows = self._transaction.fetch(FIND_PLACES, list(event_ids))
        return {event_id: (number, group) for event_id, number, group in rows}

    def list_stored(self, version: RoomVersion, room_id: str, numbers: Iterable[int]) -> dict[int, StoredEvent]:
        """Events of a room with all that the rules ask about them, from the cache as far as it goes."""
        found: dict[int, StoredEvent] = {}
        missing: list[int] = []
        for number in numbers:
            stored = self._cache.get(number)
            if stored is None:
                missing.append(number)
            else:
                found[number] = stored
        if missing:
            for number, event_id, client, wire, rejected, prev, auth, _redacted in self._transaction.fetch(
                LIST_STORED, missing
            ):
                stored = StoredEvent(
                    number, join(version, room_id, event_id, client, wire), rejected, tuple(prev), tuple(auth)
                )
                self._cache.put(number, stored)
                found[number] = stored
        return found

    def remember(self, stored: StoredEvent) -> None:
        """Puts a new event into the cache."""
        self._cache.put(stored.number, stored)

    def redact(self, number: int, redaction_id: str, client: str, wire: str) -> None:
        """Takes an event's content away for good."""
        self._transaction.defer(REDACT, number, redaction_id, client, wire)
        self._cache.drop(number)

    def forget(self, number: int) -> None:
        """Drops an event from the cache: somebody may have read it again while its redaction was not committed."""
        self._cache.drop(number)

    def get_parts(self, number: int) -> tuple[str, str]:
        """`client` and `wire` of an event."""
        row = self._transaction.text("SELECT client, wire FROM events WHERE number = %s", number)[0]
        return row[0], row[1]


def _pair(row: Row) -> tuple[str, int]:
    return row[0], row[1]
