"""Which room is whose room of server notices: exactly one for each user who was ever sent one."""

from homeserver.storage.transaction import Transaction


class NoticeRooms:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, user_id: str) -> str | None:
        """The room's id."""
        rows = self._transaction.text(
            "SELECT r.room_id FROM notice_rooms n JOIN rooms r ON r.number = n.room WHERE n.user_id = %s", user_id
        )
        return rows[0][0] if rows else None

    def add(self, user_id: str, room: int) -> None:
        """Of somebody who has none, and whose account is locked by this transaction."""
        self._transaction.defer_text("INSERT INTO notice_rooms (user_id, room) VALUES (%s, %s)", user_id, room)
