"""Room aliases of this server."""

from homeserver.storage.transaction import Transaction


class Directory:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add_alias(self, alias: str, room: int, creator: str) -> bool:
        """False if the alias is taken."""
        rows = self._transaction.text(
            "INSERT INTO aliases (alias, room, creator) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
            alias,
            room,
            creator,
        )
        return bool(rows)

    def find_room_id(self, alias: str) -> str | None:
        rows = self._transaction.text(
            "SELECT r.room_id FROM aliases a JOIN rooms r ON r.number = a.room WHERE a.alias = %s", alias
        )
        return rows[0][0] if rows else None
