"""The accounts of this server. A row is never deleted: a name that was somebody's is never somebody else's."""

from dataclasses import dataclass

from homeserver.storage.transaction import Row, Statement, Transaction

COLUMNS = "user_id, password_hash, deactivated, locked"
ADD = Statement(
    "add_user",
    "text, text, boolean, bigint",
    "INSERT INTO users (user_id, password_hash, admin, created_ts) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT DO NOTHING RETURNING 1",
)
FIND = Statement("find_user", "text", f"SELECT {COLUMNS} FROM users WHERE user_id = $1")
LOCK = Statement("lock_user", "text", f"SELECT {COLUMNS} FROM users WHERE user_id = $1 FOR NO KEY UPDATE")


@dataclass(frozen=True, slots=True)
class UserRow:
    """`password_hash` is None for an account that no password opens."""

    user_id: str
    password_hash: str | None
    deactivated: bool
    locked: bool


class Users:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, user_id: str, password_hash: str | None, admin: bool, created_ts: int) -> bool:
        """False if the name is or was somebody's."""
        return bool(self._transaction.fetch(ADD, user_id, password_hash, admin, created_ts))

    def find(self, user_id: str) -> UserRow | None:
        return _first(self._transaction.fetch(FIND, user_id))

    def lock(self, user_id: str) -> UserRow | None:
        """As `find`, and whoever else locks this account waits until the transaction ends."""
        return _first(self._transaction.fetch(LOCK, user_id))

    def set_password_hash(self, user_id: str, password_hash: str) -> None:
        self._transaction.defer_text("UPDATE users SET password_hash = %s WHERE user_id = %s", password_hash, user_id)

    def set_deactivated(self, user_id: str) -> None:
        """For good: no password opens the account again."""
        self._transaction.defer_text(
            "UPDATE users SET deactivated = true, password_hash = NULL, admin = false WHERE user_id = %s", user_id
        )


def _first(rows: list[Row]) -> UserRow | None:
    return UserRow(*rows[0]) if rows else None
