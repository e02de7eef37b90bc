"""The history of a room: its events in the order (anchor, rank).

A live event has (its position, 0); events that were fetched to fill a gap before event E have E's anchor and negative
ranks. So gaps are filled where they are (architecture.md, section 6).
"""

from dataclasses import dataclass

from homeserver.storage.events import COLUMNS, TABLES, EventRow
from homeserver.storage.transaction import Statement, Transaction

# A place in the history of a room. Its greatest rank is RANK_END: "after every event of that anchor".
RANK_END = 2**31 - 1


@dataclass(frozen=True, slots=True, order=True)
class Place:
    anchor: int
    rank: int = RANK_END


LIVE = Statement(
    "list_live_events",
    "bigint, bigint, bigint, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.room = $1 AND e.anchor > $2 AND e.anchor <= $3 AND e.live"
    " ORDER BY e.anchor DESC, e.rank DESC LIMIT $4",
)
LIVE_AFTER = Statement(
    "list_live_events_after",
    "bigint[], bigint, bigint, int",
    f"SELECT {COLUMNS} FROM unnest($1) AS w(room) CROSS JOIN LATERAL ("
    "SELECT * FROM events i WHERE i.room = w.room AND i.anchor > $2 AND i.anchor <= $3 AND i.live"
    " ORDER BY i.anchor, i.rank LIMIT $4) e"
    " LEFT JOIN state_keys k ON k.number = e.key LEFT JOIN events b ON b.number = e.replaces"
    " ORDER BY e.anchor, e.rank LIMIT $4",
)
BACKWARDS = Statement(
    "page_backwards",
    "bigint, bigint, int, bigint, int, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.room = $1 AND e.anchor IS NOT NULL AND (e.anchor, e.rank) <= ($2, $3)"
    " AND (e.anchor, e.rank) > ($4, $5) ORDER BY e.anchor DESC, e.rank DESC LIMIT $6",
)
FORWARDS = Statement(
    "page_forwards",
    "bigint, bigint, int, bigint, int, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.room = $1 AND e.anchor IS NOT NULL AND (e.anchor, e.rank) > ($2, $3)"
    " AND (e.anchor, e.rank) <= ($4, $5) ORDER BY e.anchor, e.rank LIMIT $6",
)
LIVE_IN_ROOMS = Statement(
    "list_live_events_in_rooms",
    "bigint[], bigint[], bigint[], int",
    f"SELECT {COLUMNS} FROM unnest($1, $2, $3) AS w(room, after, upto) CROSS JOIN LATERAL ("
    "SELECT * FROM events i WHERE i.room = w.room AND i.anchor > w.after AND i.anchor <= w.upto AND i.live"
    " ORDER BY i.anchor DESC, i.rank DESC LIMIT $4) e"
    " LEFT JOIN state_keys k ON k.number = e.key LEFT JOIN events b ON b.number = e.replaces"
    " ORDER BY e.room, e.anchor DESC, e.rank DESC",
)
_BY_TIME = f"SELECT {COLUMNS} FROM {TABLES} WHERE e.room = $1 AND e.anchor IS NOT NULL"
# $3: the number of the event to go on after; NULL: begin.
EARLIER = Statement(
    "list_events_earlier",
    "bigint, bigint, bigint, int",
    f"{_BY_TIME} AND e.origin_server_ts <= $2 AND ($3::bigint IS NULL OR (e.origin_server_ts, e.number) < ($2, $3))"
    " ORDER BY e.origin_server_ts DESC, e.number DESC LIMIT $4",
)
LATER = Statement(
    "list_events_later",
    "bigint, bigint, bigint, int",
    f"{_BY_TIME} AND e.origin_server_ts >= $2 AND ($3::bigint IS NULL OR (e.origin_server_ts, e.number) > ($2, $3))"
    " ORDER BY e.origin_server_ts, e.number LIMIT $4",
)
BY_POSITION = Statement(
    "list_events_by_position",
    "bigint, bigint, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.position > $1 AND e.position <= $2 AND e.live"
    " ORDER BY e.position LIMIT $3",
)
NEWEST_GAP = Statement(
    "find_gap",
    "bigint, bigint, int, bigint, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.room = $1 AND e.gap_before AND (e.anchor, e.rank) <= ($2, $3)"
    " AND (e.anchor, e.rank) >= ($4, $5) ORDER BY e.anchor DESC, e.rank DESC LIMIT 1",
)
# Ties: events that were back-filled together may have one position, and no batch ends between them.
WITH_BACK_FILLED = Statement(
    "list_all_events_by_position",
    "bigint, bigint, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.position > $1 AND e.position <= $2"
    " ORDER BY e.position FETCH FIRST ($3) ROWS WITH TIES",
)
BEFORE_POSITION = Statement(
    "list_events_before_position",
    "bigint, int",
    f"SELECT {COLUMNS} FROM {TABLES} WHERE e.position < $1 ORDER BY e.position DESC FETCH FIRST ($2) ROWS WITH TIES",
)
ROOMS_WITH_EVENTS = Statement(
    "rooms_with_events",
    "bigint[], bigint",
    "SELECT number FROM rooms WHERE number = ANY($1) AND last_anchor > $2",
)


class History:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_live(self, room: int, after: int, upto: int, limit: int) -> list[EventRow]:
        """The newest `limit` live events with after < anchor <= upto, newest first."""
        return [EventRow._make(row) for row in self._transaction.fetch(LIVE, room, after, upto, limit)]

    def list_live_in_rooms(self, ranges: dict[int, tuple[int, int]], limit: int) -> dict[int, list[EventRow]]:
        """As `list_live` for many rooms in one query; `ranges`: (after, upto) by room."""
        found: dict[int, list[EventRow]] = {room: [] for room in ranges}
        if ranges:
            after, upto = zip(*ranges.values(), strict=True)
            for row in self._transaction.fetch(LIVE_IN_ROOMS, list(ranges), list(after), list(upto), limit):
                found[row[2]].append(EventRow._make(row))
        return found

    def list_live_after(self, rooms: list[int], after: int, upto: int, limit: int) -> list[EventRow]:
        """The oldest `limit` live events of some rooms with after < anchor <= upto, oldest first."""
        if not rooms:
            return []
        return [EventRow(*row) for row in self._transaction.fetch(LIVE_AFTER, rooms, after, upto, limit)]

    def list_by_position(self, after: int, upto: int, limit: int) -> list[EventRow]:
        """The oldest `limit` live events of all rooms with after < position <= upto, in order: what followers read."""
        return [EventRow._make(row) for row in self._transaction.fetch(BY_POSITION, after, upto, limit)]

    def find_gap(self, room: int, newest: Place, oldest: Place) -> EventRow | None:
        """The newest event between two places (both included) before which events are missing."""
        rows = self._transaction.fetch(NEWEST_GAP, room, newest.anchor, newest.rank, oldest.anchor, oldest.rank)
        return EventRow(*rows[0]) if rows else None

    def list_gaps(self, room: int, limit: int) -> list[int]:
        """The newest events before which others are missing, by number."""
        order = "ORDER BY anchor DESC NULLS LAST, rank DESC"
        sql = f"SELECT number FROM events WHERE room = %s AND gap_before {order} LIMIT %s"
        return [row[0] for row in self._transaction.text(sql, room, limit)]

    def lowest_rank(self, room: int, anchor: int) -> int:
        """The rank of the first of the events with this anchor."""
        sql = "SELECT min(rank) FROM events WHERE room = %s AND anchor = %s"
        return int(self._transaction.text(sql, room, anchor)[0][0])

    def list_with_back_filled(self, after: int, upto: int, limit: int) -> list[EventRow]:
        """As `list_by_position`, with those that were fetched to fill gaps; a few more than `limit` if the last ones
        share a position."""
        return [EventRow._make(row) for row in self._transaction.fetch(WITH_BACK_FILLED, after, upto, limit)]

    def list_before_position(self, before: int, limit: int) -> list[EventRow]:
        """As `list_with_back_filled`, the newest below a position, newest first."""
        return [EventRow._make(row) for row in self._transaction.fetch(BEFORE_POSITION, before, limit)]

    def list_by_time(self, room: int, ts: int, number: int | None, limit: int, *, backwards: bool) -> list[EventRow]:
        """Events sent at or before `ts` (ms), the latest first; or at or after it, the earliest first. `number`: those
        behind the event of that number, which was sent at `ts`."""
        statement = EARLIER if backwards else LATER
        return [EventRow._make(row) for row in self._transaction.fetch(statement, room, ts, number, limit)]

    def rooms_with_events_after(self, rooms: list[int], after: int) -> set[int]:
        """Those of `rooms` whose newest event comes after the position `after`."""
        return {row[0] for row in self._transaction.fetch(ROOMS_WITH_EVENTS, rooms, after)} if rooms else set()

    def page_backwards(self, room: int, start: Place, stop: Place, limit: int) -> list[EventRow]:
        """Events at or before `start` and after `stop`, newest first."""
        return [
            EventRow._make(row)
            for row in self._transaction.fetch(BACKWARDS, room, start.anchor, start.rank, stop.anchor, stop.rank, limit)
        ]

    def page_forwards(self, room: int, start: Place, stop: Place, limit: int) -> list[EventRow]:
        """Events after `start` and at or before `stop`, oldest first."""
        return [
            EventRow._make(row)
            for row in self._transaction.fetch(FORWARDS, room, start.anchor, start.rank, stop.anchor, stop.rank, limit)
        ]
