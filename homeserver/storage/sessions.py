"""Access tokens, by their hashes: whoever reads the database cannot speak for anybody."""

from dataclasses import dataclass

from homeserver.storage.transaction import Row, Statement, Transaction

ADD = Statement(
    "add_session",
    "bytea, text, text, bigint, bigint",
    "INSERT INTO sessions (token_hash, user_id, device_id, created_ts, expires_ts) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT DO NOTHING",
)
FIND = Statement(
    "find_session",
    "bytea",
    "SELECT s.user_id, s.device_id, s.expires_ts, u.admin, u.deactivated, u.locked, u.suspended, u.guest"
    " FROM sessions s JOIN users u ON u.user_id = s.user_id WHERE s.token_hash = $1",
)
REMOVE_OF_DEVICE = Statement(
    "remove_sessions_of_device",
    "text, text",
    "DELETE FROM sessions WHERE user_id = $1 AND device_id = $2 RETURNING device_id, token_hash",
)
REMOVE_OF_USER = Statement(
    "remove_sessions_of_user",
    "text, text",
    "DELETE FROM sessions WHERE user_id = $1 AND device_id IS DISTINCT FROM $2 RETURNING device_id, token_hash",
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session with what its account says. `expires_ts` in ms; None: never."""

    user_id: str
    device_id: str
    expires_ts: int | None
    admin: bool
    deactivated: bool
    locked: bool
    suspended: bool
    guest: bool


@dataclass(frozen=True, slots=True)
class RemovedSession:
    device_id: str
    token_hash: bytes


class Sessions:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, token_hash: bytes, user_id: str, device_id: str, created_ts: int, expires_ts: int | None) -> None:
        self._transaction.defer(ADD, token_hash, user_id, device_id, created_ts, expires_ts)

    def find(self, token_hash: bytes) -> SessionRow | None:
        rows = self._transaction.fetch(FIND, token_hash)
        return SessionRow(*rows[0]) if rows else None

    def remove_of_device(self, user_id: str, device_id: str) -> list[RemovedSession]:
        return _removed(self._transaction.fetch(REMOVE_OF_DEVICE, user_id, device_id))

    def remove_of_user(self, user_id: str, keep: str | None) -> list[RemovedSession]:
        """Those of all devices but `keep`."""
        return _removed(self._transaction.fetch(REMOVE_OF_USER, user_id, keep))


def _removed(rows: list[Row]) -> list[RemovedSession]:
    return [RemovedSession(device_id, bytes(token_hash)) for device_id, token_hash in rows]
