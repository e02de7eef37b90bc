"""Read receipts: registers, the latest of each (room, user, type, thread) with its position."""

from dataclasses import dataclass

from homeserver.storage.transaction import Statement, Transaction

COLUMNS = "room, user_id, type, thread_id, event_id, anchor, ts, position"
SET = Statement(
    "set_receipt",
    "bigint, text, text, text, text, bigint, bigint, bigint",
    f"INSERT INTO receipts ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    " ON CONFLICT (room, user_id, type, thread_id) DO UPDATE SET event_id = EXCLUDED.event_id,"
    " anchor = EXCLUDED.anchor, ts = EXCLUDED.ts, position = EXCLUDED.position"
    " WHERE receipts.position < EXCLUDED.position",
)
FIND = Statement(
    "find_receipt",
    "bigint, text, text, text",
    f"SELECT {COLUMNS} FROM receipts WHERE room = $1 AND user_id = $2 AND type = $3 AND thread_id = $4"
    " FOR NO KEY UPDATE",
)
CHANGED = Statement(
    "list_changed_receipts",
    "bigint[], bigint[], bigint, text",
    "SELECT r.room, r.user_id, r.type, r.thread_id, r.event_id, r.anchor, r.ts, r.position"
    " FROM unnest($1, $2) AS w(room, after) JOIN receipts r ON r.room = w.room AND r.position > w.after"
    " AND r.position <= $3 AND (r.type = 'm.read' OR r.user_id = $4) ORDER BY r.room, r.position",
)


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """`thread_id` is empty for an unthreaded receipt; `anchor` is None if the event is not known (yet)."""

    room: int
    user_id: str
    type: str
    thread_id: str
    event_id: str
    anchor: int | None
    ts: int
    position: int


class Receipts:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, row: ReceiptRow) -> None:
        self._transaction.defer(
            SET, row.room, row.user_id, row.type, row.thread_id, row.event_id, row.anchor, row.ts, row.position
        )

    def find(self, room: int, user_id: str, type: str, thread_id: str) -> ReceiptRow | None:
        """What stands there, locked until the end of the transaction: whoever compares with it is right."""
        rows = self._transaction.fetch(FIND, room, user_id, type, thread_id)
        return ReceiptRow(*rows[0]) if rows else None

    def list_changed(self, after: dict[int, int], upto: int, viewer: str) -> dict[int, list[ReceiptRow]]:
        """By room: receipts set after the room's position in `after`; private ones only of the viewer."""
        found: dict[int, list[ReceiptRow]] = {}
        if after:
            for row in self._transaction.fetch(CHANGED, list(after), list(after.values()), upto, viewer):
                found.setdefault(row[0], []).append(ReceiptRow(*row))
        return found
