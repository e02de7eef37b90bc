"""Filters that clients have uploaded, by the hash of their definition."""

from homeserver.storage.transaction import Statement, Transaction

FIND = Statement("find_filter", "text, text", "SELECT definition FROM filters WHERE user_id = $1 AND filter_id = $2")


class Filters:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, user_id: str, filter_id: str) -> str | None:
        """Its definition, a JSON object."""
        rows = self._transaction.fetch(FIND, user_id, filter_id)
        return rows[0][0] if rows else None

    def count(self, user_id: str) -> int:
        count: int = self._transaction.text("SELECT count(*) FROM filters WHERE user_id = %s", user_id)[0][0]
        return count

    def add(self, user_id: str, filter_id: str, definition: str) -> None:
        """The same id is the same definition."""
        self._transaction.defer_text(
            "INSERT INTO filters (user_id, filter_id, definition) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            user_id,
            filter_id,
            definition,
        )
