"""What users reported to the administrators: rooms, events and users."""

from dataclasses import dataclass

from homeserver.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Report:
    """What was not reported is empty: of a room only `room_id` is set, of a user only `user_id`; of an event
    `user_id` is its sender."""

    reporter: str
    room_id: str
    event_id: str
    user_id: str
    reason: str
    ts: int


class Reports:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, report: Report) -> None:
        """Whoever reports the same thing again says something else of it."""
        self._transaction.defer_text(
            "INSERT INTO reports (reporter, room_id, event_id, user_id, reason, ts) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (reporter, room_id, event_id, user_id)"
            " DO UPDATE SET reason = EXCLUDED.reason, ts = EXCLUDED.ts",
            report.reporter,
            report.room_id,
            report.event_id,
            report.user_id,
            report.reason,
            report.ts,
        )

    def drop_oldest(self, reporter: str, kept: int) -> None:
        """Leaves the newest `kept` reports of somebody."""
        self._transaction.defer_text(
            "DELETE FROM reports WHERE number IN (SELECT number FROM reports WHERE reporter = %s"
            " ORDER BY ts DESC, number DESC OFFSET %s)",
            reporter,
            kept,
        )

    def list_newest(self, limit: int, before: tuple[int, int] = (2**62, 0)) -> list[tuple[int, Report]]:
        """(number, report) of all users, the newest first; `before` is (ts, number) of the last one of a page."""
        rows = self._transaction.text(
            "SELECT number, reporter, room_id, event_id, user_id, reason, ts FROM reports WHERE (ts, number) < (%s, %s)"
            " ORDER BY ts DESC, number DESC LIMIT %s",
            *before,
            limit,
        )
        return [(number, Report(*rest)) for number, *rest in rows]
