"""The accounts of this server. A row is never deleted: a name that was somebody's is never somebody else's."""

from dataclasses import dataclass

from homeserver.storage.transaction import Row, Statement, Transaction

COLUMNS = "user_id, password_hash, deactivated, locked"
ADD = Statement(
    "add_user",
    "text, text, boolean, bigint, boolean",
    "INSERT INTO users (user_id, password_hash, admin, created_ts, guest) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT DO NOTHING RETURNING 1",
)
FIND = Statement("find_user", "text", f"SELECT {COLUMNS} FROM users WHERE user_id = $1")
LOCK = Statement("lock_user", "text", f"SELECT {COLUMNS} FROM users WHERE user_id = $1 FOR NO KEY UPDATE")
IS_GUEST = Statement("is_guest", "text", "SELECT 1 FROM users WHERE user_id = $1 AND guest")
GUESTS_IN = Statement(
    "guests_in_room",
    "bigint, text, int",
    "SELECT m.user_id FROM memberships m JOIN users u ON u.user_id = m.user_id"
    " WHERE m.room = $1 AND m.membership = 'join' AND m.local AND u.guest AND m.user_id > $2"
    " ORDER BY m.user_id LIMIT $3",
)


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

    def add(
        self, user_id: str, password_hash: str | None, admin: bool, created_ts: int, *, guest: bool = False
    ) -> bool:
        """False if the name is or was somebody's."""
        return bool(self._transaction.fetch(ADD, user_id, password_hash, admin, created_ts, guest))

    def find(self, user_id: str) -> UserRow | None:
        return _first(self._transaction.fetch(FIND, user_id))

    def lock(self, user_id: str) -> UserRow | None:
        """As `find`, and whoever else locks this account waits until the transaction ends."""
        return _first(self._transaction.fetch(LOCK, user_id))

    def list_active(self, after: str, limit: int) -> list[str]:
        """The next ids after one in the order of the alphabet, without guests and accounts that were closed."""
        rows = self._transaction.text(
            "SELECT user_id FROM users WHERE user_id > %s AND NOT deactivated AND NOT guest ORDER BY user_id LIMIT %s",
            after,
            limit,
        )
        return [row[0] for row in rows]

    def set_password_hash(self, user_id: str, password_hash: str) -> None:
        self._transaction.defer_text("UPDATE users SET password_hash = %s WHERE user_id = %s", password_hash, user_id)

    def set_no_guest(self, user_id: str, password_hash: str) -> None:
        """From now on an account like others."""
        self._transaction.defer_text(
            "UPDATE users SET guest = false, password_hash = %s WHERE user_id = %s", password_hash, user_id
        )

    def is_guest(self, user_id: str) -> bool:
        """False too for somebody who has no account here."""
        return bool(self._transaction.fetch(IS_GUEST, user_id))

    def list_guests_in(self, room: int, after: str, limit: int) -> list[str]:
        """The guests who are joined to a room, by name, from the one after `after` on."""
        return [row[0] for row in self._transaction.fetch(GUESTS_IN, room, after, limit)]

    def set_deactivated(self, user_id: str) -> None:
        """For good: no password opens the account again."""
        self._transaction.defer_text(
            "UPDATE users SET deactivated = true, password_hash = NULL, admin = false WHERE user_id = %s", user_id
        )


def _first(rows: list[Row]) -> UserRow | None:
    return UserRow(*rows[0]) if rows else None
