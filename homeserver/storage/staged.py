"""PDUs that wait until what they follow is here: received and acknowledged, not yet in their room."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StagedPdu:
    """`pdu` is JSON; `tries`: how often it was tried in vain to get what is missing."""

    number: int
    event_id: str
    origin: str
    pdu: str
    tries: int


class Staged:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, room_id: str, row: StagedPdu) -> None:
        """Nothing happens if the event waits already."""
        self._transaction.defer_text(
            "INSERT INTO staged_pdus (number, room_id, event_id, origin, pdu) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (event_id) DO NOTHING",
            row.number,
            room_id,
            row.event_id,
            row.origin,
            row.pdu,
        )

    def count(self, room_id: str, most: int) -> int:
        """How many wait for a room, counted up to `most`."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM staged_pdus WHERE room_id = %s LIMIT %s) w"
        return int(self._transaction.text(sql, room_id, most)[0][0])

    def list_rooms(self) -> list[str]:
        """The rooms for which something waits."""
        return [row[0] for row in self._transaction.text("SELECT DISTINCT room_id FROM staged_pdus")]

    def list_first(self, room_id: str, limit: int) -> list[StagedPdu]:
        """In the order of arrival."""
        rows = self._transaction.text(
            "SELECT number, event_id, origin, pdu, tries FROM staged_pdus WHERE room_id = %s ORDER BY number LIMIT %s",
            room_id,
            limit,
        )
        return [StagedPdu(*row) for row in rows]

    def note_try(self, event_id: str) -> None:
        self._transaction.defer_text("UPDATE staged_pdus SET tries = tries + 1 WHERE event_id = %s", event_id)

    def remove(self, event_ids: Sequence[str]) -> None:
        self._transaction.defer_text("DELETE FROM staged_pdus WHERE event_id = ANY(%s)", list(event_ids))
