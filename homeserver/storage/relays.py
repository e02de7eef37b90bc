"""Events of other servers' users that entered a room through us, and that we send to its other servers."""

from collections.abc import Iterable

from homeserver.storage.transaction import Transaction


class Relays:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, event: int) -> None:
        """`event`: its internal number."""
        self._transaction.defer_text("INSERT INTO relays (event) VALUES (%s) ON CONFLICT DO NOTHING", event)

    def list_among(self, events: Iterable[int]) -> set[int]:
        """Those of these events, by number, that we pass on."""
        wanted = list(events)
        if not wanted:
            return set()
        return {row[0] for row in self._transaction.text("SELECT event FROM relays WHERE event = ANY(%s)", wanted)}
