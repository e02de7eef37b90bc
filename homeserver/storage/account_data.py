"""Account data, global (room 0) and of rooms: registers with their position; deleting leaves a row without content."""

from homeserver.storage.transaction import Statement, Transaction

GLOBAL = 0
SET = Statement(
    "set_account_data",
    "text, bigint, text, text, bigint",
    "INSERT INTO account_data (user_id, room, type, content, position) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (user_id, room, type) DO UPDATE SET content = EXCLUDED.content, position = EXCLUDED.position"
    # Two writers of one entry: the later position stays, as in the order in which both are published.
    " WHERE account_data.position < EXCLUDED.position",
)
FIND = Statement(
    "find_account_data",
    "text, bigint, text",
    "SELECT content FROM account_data WHERE user_id = $1 AND room = $2 AND type = $3",
)
CHANGED = Statement(
    "list_changed_account_data",
    "text, bigint, bigint",
    "SELECT room, type, content FROM account_data WHERE user_id = $1 AND position > $2 AND position <= $3"
    " ORDER BY room, position",
)
OF_ROOMS = Statement(
    "list_account_data_of_rooms",
    "text, bigint[], bigint",
    "SELECT room, type, content FROM account_data WHERE user_id = $1 AND room = ANY($2) AND position <= $3"
    " ORDER BY room, position",
)


class AccountData:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, user_id: str, room: int, type: str, content: str | None, position: int) -> None:
        """`content`: JSON object; None deletes."""
        self._transaction.defer(SET, user_id, room, type, content, position)

    def find(self, user_id: str, room: int, type: str) -> str | None:
        """JSON object, or None."""
        rows = self._transaction.fetch(FIND, user_id, room, type)
        return rows[0][0] if rows else None

    def list_changed(self, user_id: str, after: int, upto: int) -> list[tuple[int, str, str | None]]:
        """(room, type, content) of what was set with after < position <= upto."""
        return [(room, type, content) for room, type, content in self._transaction.fetch(CHANGED, user_id, after, upto)]

    def list_of_rooms(self, user_id: str, rooms: list[int], upto: int) -> dict[int, list[tuple[str, str | None]]]:
        """By room: (type, content) of all that was set up to a position."""
        found: dict[int, list[tuple[str, str | None]]] = {room: [] for room in rooms}
        if rooms:
            for room, type, content in self._transaction.fetch(OF_ROOMS, user_id, rooms, upto):
                found[room].append((type, content))
        return found

    def count(self, user_id: str) -> int:
        """How many entries a user has, deleted ones included."""
        count: int = self._transaction.text("SELECT count(*) FROM account_data WHERE user_id = %s", user_id)[0][0]
        return count

    def remove_all(self, user_id: str) -> None:
        """Of somebody who is gone for good: nobody will ask for it any more."""
        self._transaction.defer_text("DELETE FROM account_data WHERE user_id = %s", user_id)
