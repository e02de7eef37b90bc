"""The newest rows of everything that is published, whichever room or user they are of: what fills the tail at a start.

Read once in the life of a process, so nothing here is hot; each query walks along the index that each room, or each
user, has for its own newest rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.storage.events import COLUMNS, EventRow
from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.transaction import Transaction

RECEIPT_COLUMNS = ", ".join(f"c.{name}" for name in ReceiptRow.__dataclass_fields__)

# The newest position among those that no longer fit: the window is ordered from the newest on.
EVENTS_FLOOR = (
    "SELECT coalesce(max(position), 0) FROM (SELECT position, row_number() OVER w AS place,"
    " sum(octet_length(client)) OVER w AS bytes FROM"
    " (SELECT position, client FROM events WHERE position <= %s ORDER BY position DESC LIMIT %s) newest"
    " WINDOW w AS (ORDER BY position DESC)) counted WHERE place > %s OR bytes > %s"
)
EVENTS = (
    f"SELECT {COLUMNS}, r.room_id, r.extremities, e.prev, p.anchor IS NOT NULL,"
    " p.number IS NULL OR coalesce(p.state_after, p.state_before) = e.state_before"
    " FROM rooms r CROSS JOIN LATERAL (SELECT * FROM events i WHERE i.room = r.number AND i.anchor > %s"
    " AND i.anchor <= %s AND i.rank = 0 AND i.live) e LEFT JOIN state_keys k ON k.number = e.key"
    " LEFT JOIN events b ON b.number = e.replaces LEFT JOIN events p ON p.number = e.prev[1]"
    " WHERE r.last_anchor > %s ORDER BY e.anchor DESC LIMIT %s"
)
CHANGES = (
    "SELECT c.position, r.number, r.room_id, k.type, k.state_key, c.after FROM rooms r CROSS JOIN LATERAL"
    " (SELECT * FROM state_changes s WHERE s.room = r.number AND s.position > %s AND s.position <= %s) c"
    " JOIN state_keys k ON k.number = c.key ORDER BY c.position DESC LIMIT %s"
)
MEMBERSHIPS = (
    "SELECT m.position, m.room, r.room_id, m.user_id FROM memberships m JOIN rooms r ON r.number = m.room"
    " WHERE m.local AND m.position > %s AND m.position <= %s ORDER BY m.position DESC LIMIT %s"
)
RECEIPTS = (
    f"SELECT {RECEIPT_COLUMNS}, r.room_id FROM rooms r CROSS JOIN LATERAL"
    " (SELECT * FROM receipts x WHERE x.room = r.number AND x.position > %s AND x.position <= %s) c"
    " ORDER BY c.position DESC LIMIT %s"
)
# From one user to the next along the index.
ACCOUNT_DATA = (
    "WITH RECURSIVE w(user_id) AS ((SELECT user_id FROM account_data ORDER BY user_id LIMIT 1) UNION ALL"
    " SELECT (SELECT a.user_id FROM account_data a WHERE a.user_id > w.user_id ORDER BY a.user_id LIMIT 1) FROM w"
    " WHERE w.user_id IS NOT NULL), newest AS (SELECT d.* FROM w CROSS JOIN LATERAL (SELECT * FROM account_data a"
    " WHERE a.user_id = w.user_id AND a.position > %s AND a.position <= %s) d ORDER BY d.position DESC LIMIT %s)"
    " SELECT position, user_id, room, type, CASE WHEN fits THEN content END, fits FROM (SELECT *,"
    " sum(octet_length(coalesce(content, ''))) OVER (ORDER BY position DESC) <= %s AS fits FROM newest) counted"
    " ORDER BY position DESC"
)
MEMBERS = (
    "SELECT w.room, m.user_id FROM unnest(%s::bigint[]) AS w(room) CROSS JOIN LATERAL ("
    "(SELECT user_id, position FROM memberships WHERE room = w.room AND membership = 'join'"
    " ORDER BY position, user_id LIMIT %s) UNION ALL"
    " (SELECT user_id, position FROM memberships WHERE room = w.room AND membership = 'invite'"
    " ORDER BY position, user_id LIMIT %s) ORDER BY position, user_id LIMIT %s) m"
    " ORDER BY w.room, m.position, m.user_id"
)


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """`extremities`: those of its room, now. `follows_seen`: the first of `prev` is no event that nobody sees;
    `same_state`: the state before it is the one after that event."""

    row: EventRow
    room_id: str
    extremities: list[int]
    prev: list[int]
    follows_seen: bool
    same_state: bool


@dataclass(frozen=True, slots=True)
class RecentChange:
    """`event`: which one stands at the key of the room's state since then; None: none."""

    position: int
    room: int
    room_id: str
    type: str
    state_key: str
    event: int | None


@dataclass(frozen=True, slots=True)
class RecentMembership:
    """Of a user of this server."""

    position: int
    room: int
    room_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class RecentData:
    """`room` is 0 for global account data; `content` is None if it was deleted, or if it is too much (`fits`)."""

    position: int
    user_id: str
    room: int
    type: str
    content: str | None
    fits: bool


class Recent:
    """Lists are oldest first, of what has after < position <= upto; of more than `limit` rows, the newest `limit`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find_floor(self, upto: int, limit: int, most_bytes: int) -> int:
        """The position above which there are at most `limit` events up to `upto`, with so many bytes of content."""
        floor: int = self._transaction.text(EVENTS_FLOOR, upto, limit + 1, limit, most_bytes)[0][0]
        return floor

    def last_reset(self, upto: int) -> int:
        """The newest position at which a room got another state as a whole; 0: none."""
        sql = "SELECT coalesce(max(position), 0) FROM state_resets WHERE position <= %s"
        position: int = self._transaction.text(sql, upto)[0][0]
        return position

    def list_events(self, after: int, upto: int, limit: int) -> list[RecentEvent]:
        """Those of the timelines, by their place there: an event that got its place late has a later one."""
        rows = self._transaction.text(EVENTS, after, upto, after, limit)
        return [RecentEvent(EventRow(*row[:-5]), *row[-5:]) for row in reversed(rows)]

    def list_changes(self, after: int, upto: int, limit: int) -> list[RecentChange]:
        return [RecentChange(*row) for row in reversed(self._transaction.text(CHANGES, after, upto, limit))]

    def list_memberships(self, after: int, upto: int, limit: int) -> list[RecentMembership]:
        """Those that stand since then, also of rooms that this server only knows from outside."""
        return [RecentMembership(*row) for row in reversed(self._transaction.text(MEMBERSHIPS, after, upto, limit))]

    def list_receipts(self, after: int, upto: int, limit: int) -> list[tuple[ReceiptRow, str]]:
        """Each with the id of its room."""
        rows = self._transaction.text(RECEIPTS, after, upto, limit)
        return [(ReceiptRow(*row[:-1]), row[-1]) for row in reversed(rows)]

    def list_data(self, after: int, upto: int, limit: int, most_bytes: int) -> list[RecentData]:
        """Of all users. What goes beyond `most_bytes`, counted from the newest on, comes without its content."""
        rows = self._transaction.text(ACCOUNT_DATA, after, upto, limit, most_bytes)
        return [RecentData(*row) for row in reversed(rows)]

    def list_first_members(self, rooms: Iterable[int], limit: int) -> dict[int, list[str]]:
        """By room: the first members, joined or invited."""
        found: dict[int, list[str]] = {room: [] for room in rooms}
        if found:
            for room, user_id in self._transaction.text(MEMBERS, list(found), limit, limit, limit):
                found[room].append(user_id)
        return found
