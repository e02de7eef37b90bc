"""Tokens that let somebody register, and how often each was used.

A use is counted as pending while its registration goes through further stages, and as completed once there is an
account. Both count against `uses_allowed`.
"""

from homeserver.storage.transaction import Transaction

USABLE = (
    "token = %s AND (uses_allowed IS NULL OR pending + completed < uses_allowed)"
    " AND (expires_ts IS NULL OR expires_ts > %s)"
)


class RegistrationTokens:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, token: str, uses_allowed: int | None, expires_ts: int | None) -> bool:
        """False if there is one of that name. None: any number of uses; for ever."""
        rows = self._transaction.text(
            "INSERT INTO registration_tokens (token, uses_allowed, expires_ts) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING 1",
            token,
            uses_allowed,
            expires_ts,
        )
        return bool(rows)

    def is_usable(self, token: str, now_ms: int) -> bool:
        return bool(self._transaction.text(f"SELECT 1 FROM registration_tokens WHERE {USABLE}", token, now_ms))

    def reserve(self, token: str, now_ms: int) -> bool:
        """Counts a registration that is under way. False if the token cannot be used any more."""
        return self._update("pending = pending + 1", token, now_ms)

    def release(self, token: str) -> None:
        """The registration that had reserved a use came to nothing, or is about to be completed."""
        self._transaction.defer_text(
            "UPDATE registration_tokens SET pending = greatest(pending - 1, 0) WHERE token = %s", token
        )

    def complete(self, token: str, now_ms: int) -> bool:
        """Counts an account. False if the token cannot be used any more."""
        return self._update("completed = completed + 1", token, now_ms)

    def _update(self, change: str, token: str, now_ms: int) -> bool:
        rows = self._transaction.text(
            f"UPDATE registration_tokens SET {change} WHERE {USABLE} RETURNING 1", token, now_ms
        )
        return bool(rows)
