"""Since when nobody types in which room, as far as clients were told: kept from the end of one process to the next."""

from collections.abc import Mapping

from homeserver.storage.transaction import Transaction

# In place of a room: all those that are not named.
EVERYWHERE = 0


class Silences:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, silences: Mapping[int, int]) -> None:
        """Positions by room number. What was put before is gone."""
        self._transaction.defer_text("DELETE FROM silences")
        self._transaction.defer_rows("INSERT INTO silences (room, position)", "(%s, %s)", silences.items())

    def take(self) -> dict[int, int]:
        """What was put, which is then gone: empty if the process before this one did not end in good order."""
        rows = self._transaction.text("DELETE FROM silences RETURNING room, position")
        return {room: position for room, position in rows}
