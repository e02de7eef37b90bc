"""Proofs that writes were committed: what is left by those that write no event (architecture.md, section 6).

Asked only when the connection was lost during COMMIT. A row is of no use once its position lies below the watermark:
`Database` has them pruned, so that the table stays small.
"""

from homeserver.storage.transaction import Statement, Transaction

ADD = Statement("add_write", "bigint", "INSERT INTO write_log (position) VALUES ($1)")
PRUNE = Statement(
    "prune_write_log",
    "bigint, int",
    "WITH gone AS (DELETE FROM write_log WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM write_log WHERE position <= $1 ORDER BY position LIMIT $2)) RETURNING 1)"
    " SELECT count(*) FROM gone",
)


class WriteLog:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, position: int) -> str:
        """Notes a write by its first position. Returns SQL that finds the row."""
        self._transaction.defer(ADD, position)
        return f"SELECT 1 FROM write_log WHERE position = {position}"

    def prune(self, upto: int, limit: int) -> int:
        """Removes rows of writes that have ended, the oldest first; how many it were."""
        count: int = self._transaction.fetch(PRUNE, upto, limit)[0][0]
        return count
