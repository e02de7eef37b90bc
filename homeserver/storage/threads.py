"""Threads: which there are in a room, what stands in each, and the ordinals that unread counts are made of.

A thread counts on its own: its ordinals stand on its events and, the newest, on its row (architecture.md, section 7).
https://spec.matrix.org/v1.19/client-server-api/#threading
"""

from dataclasses import dataclass

from homeserver.storage.history import Place
from homeserver.storage.transaction import Statement, Transaction

# Of threads of a room in which a user may have something to read: the most lively.
MAX_UNREAD_THREADS = 500

ORDINALS = Statement(
    "find_thread_ordinals", "bigint, text", "SELECT ordinals FROM threads WHERE room = $1 AND root = $2"
)
ADD_EVENT = Statement(
    "add_thread_event",
    "bigint, text, bigint, bigint, text, int[]",
    "INSERT INTO thread_events (room, root, anchor, event, sender, ordinals) VALUES ($1, $2, $3, $4, $5, $6)",
)
MOVE = Statement(
    "move_thread",
    "bigint, text, bigint, int[]",
    "INSERT INTO threads (room, root, anchor, ordinals) VALUES ($1, $2, $3, $4) ON CONFLICT (room, root)"
    " DO UPDATE SET anchor = EXCLUDED.anchor, ordinals = EXCLUDED.ordinals",
)
# For a thread of which only old replies are here, it is made.
ADD_REPLY = Statement(
    "add_thread_reply",
    "bigint, text, bigint, int",
    "INSERT INTO threads (room, root, anchor, ordinals, latest_anchor, latest_rank) VALUES ($1, $2, 0, '{}', $3, $4)"
    " ON CONFLICT (room, root) DO UPDATE SET latest_anchor = $3, latest_rank = $4"
    " WHERE (threads.latest_anchor, threads.latest_rank) < ($3, $4) OR threads.latest_anchor IS NULL",
)
RENEW_LATEST = Statement(
    "renew_latest_reply",
    "bigint, text",
    "UPDATE threads t SET (latest_anchor, latest_rank) = (SELECT r.anchor, r.rank FROM relations r"
    " WHERE r.room = $1 AND r.relates_to = $2 AND r.rel_type = 'm.thread' ORDER BY r.anchor DESC, r.rank DESC LIMIT 1)"
    " WHERE t.room = $1 AND t.root = $2",
)
PAGE = Statement(
    "page_threads",
    "bigint, bigint, int, text, int",
    "SELECT t.root, t.latest_anchor, t.latest_rank FROM threads t WHERE t.room = $1"
    " AND (t.latest_anchor, t.latest_rank) <= ($2, $3) AND ($4::text IS NULL"
    " OR EXISTS (SELECT 1 FROM relations r WHERE r.room = $1 AND r.relates_to = t.root AND r.rel_type = 'm.thread'"
    " AND r.sender = $4) OR EXISTS (SELECT 1 FROM events e WHERE e.event_id = t.root AND e.sender = $4))"
    " ORDER BY t.latest_anchor DESC, t.latest_rank DESC LIMIT $5",
)
# Where a user's counting starts in each thread: the latest of the receipts for all threads and the joining ($2), the
# receipts for the thread, and the user's own last event in it.
BASES = Statement(
    "thread_count_bases",
    "bigint[], bigint[], text",
    "SELECT w.room, t.root, s.start, t.anchor, t.ordinals, b.ordinals, c.slots FROM unnest($1, $2) AS w(room, base)"
    " CROSS JOIN LATERAL (SELECT i.root, i.anchor, i.ordinals FROM threads i WHERE i.room = w.room"
    f" AND i.anchor > w.base ORDER BY i.anchor DESC LIMIT {MAX_UNREAD_THREADS}) t"
    " CROSS JOIN LATERAL (SELECT greatest(w.base,"
    " (SELECT max(anchor) FROM receipts WHERE room = w.room AND user_id = $3 AND thread_id = t.root),"
    " (SELECT max(anchor) FROM thread_events WHERE room = w.room AND root = t.root AND sender = $3)) AS start) s"
    " LEFT JOIN LATERAL (SELECT ordinals FROM thread_events WHERE room = w.room AND root = t.root"
    " AND anchor <= s.start ORDER BY anchor DESC LIMIT 1) b ON true"
    " LEFT JOIN LATERAL (SELECT cardinality(ordinals) AS slots FROM events WHERE room = w.room AND anchor <= s.start"
    " ORDER BY anchor DESC, rank DESC LIMIT 1) c ON true"
    " WHERE t.anchor > s.start",
)
SPOKEN_IN = Statement(
    "threads_spoken_in",
    "bigint[], text[], bigint[], text[]",
    "SELECT w.room, w.root FROM unnest($1, $2, $3) AS w(room, root, start) WHERE EXISTS (SELECT 1 FROM thread_events e"
    " WHERE e.room = w.room AND e.root = w.root AND e.sender = ANY($4) AND e.anchor > w.start)",
)
EVENTS_SINCE = Statement(
    "list_thread_events",
    "bigint, text, bigint, int",
    "SELECT event FROM thread_events WHERE room = $1 AND root = $2 AND anchor > $3 ORDER BY anchor DESC LIMIT $4",
)
# What the event added to each ordinal is what it differs by from the event of the thread before it.
DISCOUNT = Statement(
    "discount_thread_slots",
    "bigint, text, bigint",
    "INSERT INTO count_exceptions (room, anchor, slot, user_id, thread_id, notify, highlight)"
    " SELECT $1, $3, s.slot - 1, '', $2, coalesce(p.ordinals[s.slot], 0) - e.ordinals[s.slot], 0"
    " FROM thread_events e CROSS JOIN LATERAL generate_subscripts(e.ordinals, 1) AS s(slot)"
    " LEFT JOIN LATERAL (SELECT b.ordinals FROM thread_events b WHERE b.room = $1 AND b.root = $2 AND b.anchor < $3"
    " ORDER BY b.anchor DESC LIMIT 1) p ON true"
    " WHERE e.room = $1 AND e.root = $2 AND e.anchor = $3"
    " AND coalesce(p.ordinals[s.slot], 0) <> e.ordinals[s.slot]",
)


@dataclass(frozen=True, slots=True)
class ThreadEvent:
    """An event of a thread that just came; `ordinals` are the thread's with it counted."""

    room: int
    root: str
    anchor: int
    event: int
    sender: str
    ordinals: list[int]


@dataclass(frozen=True, slots=True)
class ThreadBase:
    """`start`: counting begins after this anchor; `ordinals_then`: of the thread's last event at or before it; `slots`:
    how many classes the room had there."""

    room: int
    root: str
    start: int
    last_anchor: int
    ordinals: list[int]
    ordinals_then: list[int]
    slots: int


class Threads:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find_ordinals(self, room: int, root: str) -> list[int] | None:
        """The thread's newest; None if there is no such thread yet."""
        rows = self._transaction.fetch(ORDINALS, room, root)
        return rows[0][0] if rows else None

    def add_event(self, event: ThreadEvent) -> None:
        """The thread goes on with `event`."""
        self._transaction.defer(
            ADD_EVENT, event.room, event.root, event.anchor, event.event, event.sender, event.ordinals
        )
        self._transaction.defer(MOVE, event.room, event.root, event.anchor, event.ordinals)

    def add_reply(self, room: int, root: str, place: Place) -> None:
        """An event at `place` has the root as its thread."""
        self._transaction.defer(ADD_REPLY, room, root, place.anchor, place.rank)

    def renew_latest(self, room: int, root: str) -> None:
        """A reply is gone: looks for the newest that is left."""
        self._transaction.defer(RENEW_LATEST, room, root)

    def page(self, room: int, start: Place, participant: str | None, limit: int) -> list[tuple[str, Place]]:
        """Roots with the places of their newest replies, those at or before `start`, the newest first. `participant`:
        only threads in which this user wrote, or whose root this user sent."""
        rows = self._transaction.fetch(PAGE, room, start.anchor, start.rank, participant, limit)
        return [(root, Place(anchor, rank)) for root, anchor, rank in rows]

    def list_bases(self, starts: dict[int, int], user_id: str) -> list[ThreadBase]:
        """Of the threads with events that the user has not read. `starts`: of each room, up to where all is read."""
        if not starts:
            return []
        rows = self._transaction.fetch(BASES, list(starts), list(starts.values()), user_id)
        return [
            ThreadBase(room, root, start, last, ordinals, then or [], slots or 0)
            for room, root, start, last, ordinals, then, slots in rows
        ]

    def list_spoken_in(self, starts: dict[tuple[int, str], int], senders: list[str]) -> set[tuple[int, str]]:
        """The threads, by (room, root), in which one of `senders` said something after the start."""
        if not starts or not senders:
            return set()
        rooms, roots = zip(*starts, strict=True)
        rows = self._transaction.fetch(SPOKEN_IN, list(rooms), list(roots), list(starts.values()), senders)
        return {(room, root) for room, root in rows}

    def list_events(self, room: int, root: str, after: int, limit: int) -> list[int]:
        """The numbers of the newest `limit` live events of the thread after an anchor."""
        return [row[0] for row in self._transaction.fetch(EVENTS_SINCE, room, root, after, limit)]

    def discount(self, room: int, root: str, anchor: int) -> None:
        """The thread's event at `anchor` was redacted: it no longer counts for anybody."""
        self._transaction.defer(DISCOUNT, room, root, anchor)
