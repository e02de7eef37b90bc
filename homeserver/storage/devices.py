"""The devices of local users: what a session stands on."""

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.storage.transaction import Statement, Transaction

ADD = Statement(
    "add_device",
    "text, text, text, bigint",
    "INSERT INTO devices (user_id, device_id, display_name, created_ts) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """That a device was there: when (ms), and from where."""

    user_id: str
    device_id: str
    ts: int
    address: str


class Devices:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, user_id: str, device_id: str, display_name: str | None, created_ts: int) -> None:
        """Leaves a device that is there as it is."""
        self._transaction.defer(ADD, user_id, device_id, display_name, created_ts)

    def remove(self, user_id: str, device_id: str) -> None:
        self._transaction.defer_text("DELETE FROM devices WHERE user_id = %s AND device_id = %s", user_id, device_id)

    def remove_all(self, user_id: str, keep: str | None) -> None:
        """All of a user but `keep`."""
        self._transaction.defer_text(
            "DELETE FROM devices WHERE user_id = %s AND device_id IS DISTINCT FROM %s", user_id, keep
        )

    def set_seen(self, sightings: Iterable[Sighting]) -> None:
        """Of devices that are still there, in one statement."""
        rows = [(each.user_id, each.device_id, each.ts, each.address) for each in sightings]
        self._transaction.defer_rows(
            "WITH seen (user_id, device_id, ts, address) AS (",
            "(%s, %s, %s, %s)",
            rows,
            ") UPDATE devices d SET last_seen_ts = seen.ts, last_seen_ip = seen.address FROM seen"
            " WHERE d.user_id = seen.user_id AND d.device_id = seen.device_id",
        )
