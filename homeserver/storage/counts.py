"""What unread counts are made of: classes of push rules, ordinals and exceptions (architecture.md, section 7)."""

from dataclasses import dataclass

from homeserver.storage.transaction import Statement, Transaction

# Where a user's counting starts in each room's main timeline, and what the ordinals were there. The start is the latest
# of: the user's receipts, the user's own last event, and the user's joining. Up to `base` all threads are read too.
BASES = Statement(
    "count_bases",
    "bigint[], text",
    "SELECT r.number, r.room_id, r.classes, r.ordinals, s.start, b.ordinals, r.last_anchor, a.base"
    " FROM rooms r JOIN memberships m ON m.room = r.number AND m.user_id = $2"
    " CROSS JOIN LATERAL (SELECT greatest("
    "(SELECT max(anchor) FROM receipts WHERE room = r.number AND user_id = $2 AND thread_id = ''),"
    " m.position, 0) AS base) a"
    " CROSS JOIN LATERAL (SELECT greatest(a.base,"
    "(SELECT max(anchor) FROM receipts WHERE room = r.number AND user_id = $2 AND thread_id = 'main'),"
    "(SELECT anchor FROM events WHERE room = r.number AND sender = $2 AND anchor IS NOT NULL AND thread_id IS NULL"
    " ORDER BY anchor DESC LIMIT 1)) AS start) s"
    " LEFT JOIN LATERAL (SELECT ordinals FROM events WHERE room = r.number AND anchor <= s.start"
    " ORDER BY anchor DESC, rank DESC LIMIT 1) b ON true"
    " WHERE r.number = ANY($1)",
)
EXCEPTIONS = Statement(
    "list_count_exceptions",
    "bigint[], text[], bigint[], text",
    "SELECT c.room, c.thread_id, c.slot, sum(c.notify)::int, sum(c.highlight)::int"
    " FROM unnest($1, $2, $3) AS w(room, thread_id, start)"
    " JOIN count_exceptions c ON c.room = w.room AND c.thread_id = w.thread_id AND c.anchor > w.start"
    " AND c.user_id IN ('', $4) GROUP BY c.room, c.thread_id, c.slot",
)
ADD_EXCEPTION = Statement(
    "add_count_exception",
    "bigint, bigint, smallint, text, text, smallint, smallint",
    "INSERT INTO count_exceptions (room, anchor, slot, user_id, thread_id, notify, highlight)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (room, anchor, slot, user_id)"
    " DO UPDATE SET notify = EXCLUDED.notify, highlight = EXCLUDED.highlight",
)
CLASSES_OF = Statement(
    "classes_of_user",
    "text",
    "SELECT room, position, class FROM rule_classes WHERE user_id = $1 ORDER BY position, room",
)
CLASSES_OF_USERS = Statement(
    "newest_classes_of_users",
    "text[], bigint",
    "SELECT DISTINCT ON (user_id) user_id, class FROM rule_classes WHERE user_id = ANY($1) AND room IN (0, $2)"
    " ORDER BY user_id, position DESC, room DESC",
)

SPOKEN_IN = Statement(
    "rooms_spoken_in",
    "bigint[], bigint[], text[]",
    "SELECT w.room FROM unnest($1, $2) AS w(room, start) WHERE EXISTS (SELECT 1 FROM events e"
    " WHERE e.room = w.room AND e.sender = ANY($3) AND e.anchor > w.start AND e.thread_id IS NULL AND e.key IS NULL)",
)
LIVE_MAIN = Statement(
    "list_live_main_events",
    "bigint, bigint, bigint, int",
    "SELECT number FROM events WHERE room = $1 AND anchor > $2 AND anchor <= $3 AND live AND thread_id IS NULL"
    " ORDER BY anchor DESC, rank DESC LIMIT $4",
)
DISCOUNT_USERS = Statement(
    "discount_users", "bigint, bigint", "DELETE FROM count_exceptions WHERE room = $1 AND anchor = $2"
)
# What the event added to each ordinal is what it differs by from the event before it.
DISCOUNT_SLOTS = Statement(
    "discount_slots",
    "bigint, bigint",
    "INSERT INTO count_exceptions (room, anchor, slot, user_id, thread_id, notify, highlight)"
    " SELECT $1, $2, s.slot - 1, '', '', coalesce(p.ordinals[s.slot], 0) - e.ordinals[s.slot], 0"
    " FROM events e CROSS JOIN LATERAL generate_subscripts(e.ordinals, 1) AS s(slot)"
    " LEFT JOIN LATERAL (SELECT b.ordinals FROM events b WHERE b.room = $1 AND b.anchor < $2"
    " ORDER BY b.anchor DESC, b.rank DESC LIMIT 1) p ON true"
    " WHERE e.room = $1 AND e.anchor = $2 AND e.rank = 0"
    " AND coalesce(p.ordinals[s.slot], 0) <> e.ordinals[s.slot]",
)

# The slot of an exception that is about one user.
ONE_USER = -1
# The thread of an exception that is about the main timeline.
MAIN = ""


@dataclass(frozen=True, slots=True)
class CountBase:
    """Of the main timeline. `start`: counting begins after this anchor; `ordinals_then` of the last event at or before
    it; `base`: up to this anchor all threads are read too."""

    room: int
    room_id: str
    classes: list[str]
    ordinals: list[int]
    start: int
    ordinals_then: list[int]
    last_anchor: int
    base: int


class Counts:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_bases(self, rooms: list[int], user_id: str) -> list[CountBase]:
        if not rooms:
            return []
        return [
            CountBase(room, room_id, classes, ordinals, start, then or [], last, base)
            for room, room_id, classes, ordinals, start, then, last, base in self._transaction.fetch(
                BASES, rooms, user_id
            )
        ]

    def list_exceptions(self, starts: dict[tuple[int, str], int], user_id: str) -> list[tuple[int, str, int, int, int]]:
        """(room, thread, slot, notify, highlight), summed over the events after each start. `starts`: by room and
        thread (MAIN: the main timeline). Slot ONE_USER is the user."""
        if not starts:
            return []
        rooms, threads = zip(*starts, strict=True)
        rows = self._transaction.fetch(EXCEPTIONS, list(rooms), list(threads), list(starts.values()), user_id)
        return [(room, thread, slot, notify, highlight) for room, thread, slot, notify, highlight in rows]

    def list_spoken_in(self, starts: dict[int, int], senders: list[str]) -> set[int]:
        """The rooms in whose main timeline one of `senders` sent a message after the room's start."""
        if not starts or not senders:
            return set()
        return {row[0] for row in self._transaction.fetch(SPOKEN_IN, list(starts), list(starts.values()), senders)}

    def list_main_events(self, room: int, after: int, upto: int, limit: int) -> list[int]:
        """The numbers of the newest `limit` live events of the main timeline with after < anchor <= upto."""
        return [row[0] for row in self._transaction.fetch(LIVE_MAIN, room, after, upto, limit)]

    def add_exception(
        self, room: int, anchor: int, slot: int, user_id: str, thread: str, notify: int, highlight: int
    ) -> None:
        self._transaction.defer(ADD_EXCEPTION, room, anchor, slot, user_id, thread, notify, highlight)

    def list_classes(self, user_id: str) -> list[tuple[int, int, str]]:
        """(room or 0, position from which on, class), oldest first; room 0 is the first of those at one position."""
        return [(room, position, name) for room, position, name in self._transaction.fetch(CLASSES_OF, user_id)]

    def list_newest_classes(self, user_ids: list[str], room: int) -> dict[str, str]:
        """The class in a room of each user who ever changed rules."""
        if not user_ids:
            return {}
        return {user_id: name for user_id, name in self._transaction.fetch(CLASSES_OF_USERS, user_ids, room)}

    def discount(self, room: int, anchor: int) -> None:
        """The event at `anchor` was redacted: it no longer counts for anybody."""
        self._transaction.defer(DISCOUNT_USERS, room, anchor)
        self._transaction.defer(DISCOUNT_SLOTS, room, anchor)

    def set_classes(self, user_id: str, position: int, classes: dict[int, str]) -> None:
        """From `position` on the user's rules are of these classes, by room (0: in all rooms without a later row)."""
        self._transaction.defer_text(
            "INSERT INTO rule_classes (user_id, room, position, class)"
            " SELECT %s, room, %s, class FROM unnest(%s::bigint[], %s::text[]) AS n(room, class)"
            " ON CONFLICT (user_id, room, position) DO UPDATE SET class = EXCLUDED.class",
            user_id,
            position,
            list(classes),
            list(classes.values()),
        )

    def forget_classes(self, user_id: str) -> None:
        """Everything that `list_classes` tells of a user."""
        self._transaction.defer_text("DELETE FROM rule_classes WHERE user_id = %s", user_id)

    def add_rule_set(self, name: str, rules: str, user_id: str) -> None:
        """What the class stands for: rules (JSON) of one user."""
        self._transaction.defer_text(
            "INSERT INTO rule_sets (class, rules, user_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            name,
            rules,
            user_id,
        )

    def list_rule_sets(self, names: list[str]) -> dict[str, tuple[str, str]]:
        """By class: its rules (JSON) and the user whose they are."""
        rows = self._transaction.text("SELECT class, rules, user_id FROM rule_sets WHERE class = ANY(%s)", names)
        return {name: (rules, user_id) for name, rules, user_id in rows}
