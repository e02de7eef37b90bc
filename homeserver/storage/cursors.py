"""The cursors of followers: how far each one has acted upon the stream."""

from homeserver.storage.transaction import Transaction


class Cursors:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, name: str) -> int | None:
        rows = self._transaction.text("SELECT position FROM followers WHERE name = %s", name)
        return rows[0][0] if rows else None

    def set(self, name: str, position: int) -> None:
        """Everything up to `position` was acted upon."""
        self._transaction.defer_text(
            "INSERT INTO followers (name, position) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET position = EXCLUDED.position",
            name,
            position,
        )
