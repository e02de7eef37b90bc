"""What we have to tell other servers: live events of our users and events that we relay, and read receipts.

An event concerns the servers that had a joined user before or after it, exactly as of its position, and those that the
journal of `room_servers` names with it. So what waits for a server that was away is found among the events themselves.
"""

from dataclasses import dataclass

from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.transaction import Statement, Transaction

_COLUMNS = "e.position, e.room, e.event_id, e.type, e.sender, e.client, e.wire"
_SENDER = "substr(e.sender, strpos(e.sender, ':') + 1)"
_RELAYED = "EXISTS (SELECT 1 FROM relays x WHERE x.event = e.number)"

# Three kinds of rows in one answer: events; servers that are in their rooms now; what changed of these since.
EVENT, PRESENT, CHANGED = 0, 1, 3
LIST = Statement(
    "list_outgoing",
    "bigint, bigint, text, int",
    f"WITH e AS MATERIALIZED (SELECT {_COLUMNS} FROM events e WHERE e.position > $1 AND e.position <= $2 AND e.live"
    f" AND ({_SENDER} = $3 OR {_RELAYED}) AND EXISTS (SELECT 1 FROM room_servers s WHERE s.room = e.room)"
    " ORDER BY e.position LIMIT $4),"
    " f AS MATERIALIZED (SELECT room, min(position) AS first FROM e GROUP BY room)"
    f" SELECT {EVENT}, e.position, e.room, r.version, r.room_id, e.event_id, e.type, e.sender, e.client, e.wire"
    " FROM e JOIN rooms r ON r.number = e.room"
    f" UNION ALL SELECT {PRESENT}, 0, s.room, s.server, NULL, NULL, NULL, NULL, NULL, NULL"
    " FROM f CROSS JOIN LATERAL (SELECT * FROM room_servers i WHERE i.room = f.room AND i.joined > 0) s"
    f" UNION ALL SELECT {CHANGED} + c.change, c.position, c.room, c.server, NULL, NULL, NULL, NULL, NULL, NULL"
    " FROM f CROSS JOIN LATERAL"
    " (SELECT * FROM room_server_changes i WHERE i.room = f.room AND i.position >= f.first) c",
)

# The rooms that concern server $1 after position $2: (room, joined: is it in the room now?).
_ROOMS = (
    "w AS MATERIALIZED (SELECT s.room, s.joined > 0 AS joined FROM room_servers s WHERE s.server = $1"
    " AND (s.joined > 0 OR EXISTS (SELECT 1 FROM room_server_changes c"
    " WHERE c.server = $1 AND c.room = s.room AND c.position > $2)))"
)
# Whether an event of such a room concerns it: it was there after the event, or is noted at the event.
_CONCERNS = (
    "(coalesce((SELECT c.change < 0 FROM room_server_changes c WHERE c.server = $1 AND c.room = e.room"
    " AND c.position > e.position AND c.change <> 0 ORDER BY c.position LIMIT 1), w.joined)"
    " OR EXISTS (SELECT 1 FROM room_server_changes c WHERE c.server = $1 AND c.room = e.room"
    f" AND c.position = e.position)) AND {_SENDER} <> $1"
)
_OF_ROOM = (
    "FROM events e WHERE e.room = w.room AND e.anchor > $2 AND e.anchor <= $3 AND e.rank = 0 AND e.position = e.anchor"
    f" AND e.live AND ({_SENDER} = $4 OR {_RELAYED}) AND {_CONCERNS}"
)


def _missed(name: str, order: str, each: str) -> Statement:
    return Statement(
        name,
        "text, bigint, bigint, text, int",
        f"WITH {_ROOMS} SELECT m.position, m.room, r.version, r.room_id, m.event_id, m.type, m.sender, m.client,"
        f" m.wire FROM w CROSS JOIN LATERAL (SELECT {_COLUMNS} {_OF_ROOM} ORDER BY e.anchor {order} LIMIT {each}) m"
        " JOIN rooms r ON r.number = m.room ORDER BY m.position LIMIT $5",
    )


MISSED = _missed("list_missed", "", "$5")
NEWEST = _missed("list_newest_missed", "DESC", "1")
FAR = Statement(
    "find_far_missed",
    "text, bigint, bigint, text, int",
    f"WITH {_ROOMS} SELECT m.position FROM w CROSS JOIN LATERAL"
    f" (SELECT e.position {_OF_ROOM} ORDER BY e.anchor DESC LIMIT $5 + 1) m"
    " ORDER BY m.position DESC OFFSET $5 LIMIT 1",
)


_RECEIPTS = (
    "SELECT r.room, r.user_id, r.type, r.thread_id, r.event_id, r.anchor, r.ts, r.position, n.room_id"
    " FROM w CROSS JOIN LATERAL (SELECT * FROM receipts i WHERE i.room = w.room AND i.position > {after}"
    " AND i.position <= {upto} AND i.type = 'm.read' AND substr(i.user_id, strpos(i.user_id, ':') + 1) = {ours}) r"
    " JOIN rooms n ON n.number = w.room ORDER BY r.position DESC LIMIT {limit}"
)
RECEIPTS = Statement(
    "list_missed_receipts",
    "text, bigint, bigint, text, int",
    "WITH w AS (SELECT room FROM room_servers WHERE server = $1 AND joined > 0) "
    + _RECEIPTS.format(after="$2", upto="$3", ours="$4", limit="$5"),
)
# Asked once, at a start, of every room that other servers are in.
ALL_RECEIPTS = "WITH w AS (SELECT DISTINCT room FROM room_servers WHERE joined > 0) " + _RECEIPTS.format(
    after="%s", upto="%s", ours="%s", limit="%s"
)


@dataclass(frozen=True, slots=True)
class OutgoingRow:
    """`client` and `wire` as in the table of events."""

    position: int
    room: int
    version: str
    room_id: str
    event_id: str
    type: str
    sender: str
    client: str
    wire: str


@dataclass(frozen=True, slots=True)
class ServerChange:
    """`change` is one of those of `storage.room_servers`."""

    position: int
    server: str
    change: int


@dataclass(slots=True)
class OutgoingPage:
    """Events in order, and by room: the servers that are in it now, and what changed of these from the room's first
    event on, in order."""

    events: list[OutgoingRow]
    servers: dict[int, list[str]]
    changes: dict[int, list[ServerChange]]


class Outgoing:
    """`ours` is the name of this server. Lists are of what has after < position <= upto."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_by_position(self, after: int, upto: int, ours: str, limit: int) -> OutgoingPage:
        """The oldest `limit`, of rooms that ever concerned another server."""
        page = OutgoingPage([], {}, {})
        for kind, position, room, *rest in self._transaction.fetch(LIST, after, upto, ours, limit):
            if kind == EVENT:
                page.events.append(OutgoingRow(position, room, *rest))
            elif kind == PRESENT:
                page.servers.setdefault(room, []).append(rest[0])
            else:
                page.changes.setdefault(room, []).append(ServerChange(position, rest[0], kind - CHANGED))
        page.events.sort(key=lambda row: row.position)
        for changes in page.changes.values():
            changes.sort(key=lambda change: change.position)
        return page

    def list_missed(self, server: str, after: int, upto: int, ours: str, limit: int) -> list[OutgoingRow]:
        """The oldest `limit` that concern a server."""
        return [OutgoingRow(*row) for row in self._transaction.fetch(MISSED, server, after, upto, ours, limit)]

    def list_newest(self, server: str, after: int, upto: int, ours: str, limit: int) -> list[OutgoingRow]:
        """As `list_missed`, only the newest event of each room."""
        return [OutgoingRow(*row) for row in self._transaction.fetch(NEWEST, server, after, upto, ours, limit)]

    def find_far(self, server: str, after: int, upto: int, ours: str, limit: int) -> int | None:
        """The position above which `limit` of the missed events lie; None if there are no more than these."""
        rows = self._transaction.fetch(FAR, server, after, upto, ours, limit)
        return rows[0][0] if rows else None

    def list_receipts(
        self, server: str | None, after: int, upto: int, ours: str, limit: int
    ) -> list[tuple[ReceiptRow, str]]:
        """Public receipts of our users, the newest `limit`, newest first, each with the id of its room: those that
        concern a server, or any."""
        if server is None:
            rows = self._transaction.text(ALL_RECEIPTS, after, upto, ours, limit)
        else:
            rows = self._transaction.fetch(RECEIPTS, server, after, upto, ours, limit)
        return [(ReceiptRow(*row[:-1]), row[-1]) for row in rows]
