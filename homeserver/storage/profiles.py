"""The profiles of local users: one row per field, its value as JSON."""

from typing import Any

import orjson

from homeserver.storage.transaction import Statement, Transaction

LIST = Statement("list_profile_fields", "text", "SELECT field, content FROM profiles WHERE user_id = $1 ORDER BY field")
SET = Statement(
    "set_profile_field",
    "text, text, text",
    "INSERT INTO profiles (user_id, field, content) VALUES ($1, $2, $3)"
    " ON CONFLICT (user_id, field) DO UPDATE SET content = EXCLUDED.content",
)


class Profiles:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def get(self, user_id: str) -> dict[str, Any]:
        """The values of all fields; empty for somebody who has none, or is not ours."""
        return {field: orjson.loads(content) for field, content in self.list_fields(user_id).items()}

    def list_fields(self, user_id: str) -> dict[str, str]:
        """As `get`, with the values as JSON."""
        return {field: content for field, content in self._transaction.fetch(LIST, user_id)}

    def set(self, user_id: str, field: str, content: str) -> None:
        """`content`: JSON."""
        self._transaction.defer(SET, user_id, field, content)

    def remove(self, user_id: str, field: str) -> None:
        self._transaction.defer_text("DELETE FROM profiles WHERE user_id = %s AND field = %s", user_id, field)

    def remove_all(self, user_id: str) -> None:
        self._transaction.defer_text("DELETE FROM profiles WHERE user_id = %s", user_id)
