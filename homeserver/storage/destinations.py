"""Servers that do not answer, and when to try them again. A server that answers has no row."""

from homeserver.domain.outage import Outage
from homeserver.storage.transaction import Transaction


class Destinations:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, server_name: str) -> Outage | None:
        """None: there is no outage."""
        rows = self._transaction.text(
            "SELECT since_ts, failed_ts, retry_ts, pause_ms FROM destinations WHERE server_name = %s", server_name
        )
        return Outage(*rows[0]) if rows else None

    def set(self, server_name: str, outage: Outage) -> None:
        self._transaction.defer_text(
            "INSERT INTO destinations (server_name, since_ts, failed_ts, retry_ts, pause_ms)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (server_name) DO UPDATE SET since_ts = EXCLUDED.since_ts,"
            " failed_ts = EXCLUDED.failed_ts, retry_ts = EXCLUDED.retry_ts, pause_ms = EXCLUDED.pause_ms",
            server_name,
            outage.since_ms,
            outage.failed_ms,
            outage.retry_ms,
            outage.pause_ms,
        )

    def remove(self, server_name: str) -> None:
        """The outage is over."""
        self._transaction.defer_text("DELETE FROM destinations WHERE server_name = %s", server_name)

    def remove_forgotten(self, before_ms: int) -> None:
        """Outages of servers that nobody has tried since `before_ms`."""
        self._transaction.defer_text("DELETE FROM destinations WHERE failed_ts < %s", before_ms)
