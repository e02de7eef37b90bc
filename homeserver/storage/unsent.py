"""The servers that have not taken everything that we send, and from where on something waits for them."""

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.storage.transaction import Statement, Transaction

SET = Statement(
    "set_unsent",
    "text[], bigint[], bigint[]",
    "INSERT INTO unsent (server, position, receipts) SELECT * FROM unnest($1, $2, $3)"
    " ON CONFLICT (server) DO UPDATE SET position = EXCLUDED.position, receipts = EXCLUDED.receipts",
)
REMOVE = Statement("remove_unsent", "text[]", "DELETE FROM unsent WHERE server = ANY($1)")


@dataclass(frozen=True, slots=True)
class UnsentRow:
    """The server has the events up to `position`, and the receipts up to `receipts`."""

    server: str
    position: int
    receipts: int


class Unsent:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, rows: Iterable[UnsentRow]) -> None:
        columns = [(row.server, row.position, row.receipts) for row in rows]
        if columns:
            self._transaction.defer(SET, *(list(column) for column in zip(*columns, strict=True)))

    def remove(self, servers: Iterable[str]) -> None:
        """They have taken everything."""
        gone = list(servers)
        if gone:
            self._transaction.defer(REMOVE, gone)

    def list_all(self) -> list[UnsentRow]:
        return [
            UnsentRow(*row)
            for row in self._transaction.text("SELECT server, position, receipts FROM unsent ORDER BY server")
        ]
