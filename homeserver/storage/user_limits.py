"""Rate limits that the operator gave to single users."""

from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.storage.transaction import Transaction

COLUMNS = "user_id, name, per_second, burst"


@dataclass(frozen=True, slots=True)
class UserLimitRow:
    """`rate`: how many in a second, and how many at once; None: no limit."""

    user_id: str
    name: str
    rate: tuple[float, int] | None


class UserLimits:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, user_id: str, rates: Mapping[str, tuple[float, int] | None]) -> None:
        """By name, in place of all that the user had."""
        self._transaction.defer_text("DELETE FROM user_limits WHERE user_id = %s", user_id)
        self._transaction.defer_rows(
            f"INSERT INTO user_limits ({COLUMNS})",
            "(%s, %s, %s, %s)",
            [(user_id, name, *(rate or (None, None))) for name, rate in rates.items()],
        )

    def list_all(self) -> list[UserLimitRow]:
        rows = self._transaction.text(f"SELECT {COLUMNS} FROM user_limits ORDER BY user_id, name")
        return [
            UserLimitRow(user_id, name, None if per_second is None else (per_second, burst))
            for user_id, name, per_second, burst in rows
        ]
