"""Redactions that came before the event that they are about."""

from collections.abc import Iterable

from homeserver.storage.transaction import Statement, Transaction

ADD = Statement(
    "add_early_redaction",
    "text, bigint",
    "INSERT INTO early_redactions (target, redaction) VALUES ($1, $2) ON CONFLICT DO NOTHING",
)
LIST = Statement(
    "list_early_redactions", "text[]", "SELECT target, redaction FROM early_redactions WHERE target = ANY($1)"
)


class Redactions:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add_early(self, target: str, redaction: int) -> None:
        """`target` is the id of an event that is not here yet, `redaction` the number of one that is."""
        self._transaction.defer(ADD, target, redaction)

    def list_early(self, targets: Iterable[str]) -> dict[str, list[int]]:
        """The numbers of the redactions that wait for one of these events, by its id."""
        wanted = list(targets)
        found: dict[str, list[int]] = {}
        if wanted:
            for target, redaction in self._transaction.fetch(LIST, wanted):
                found.setdefault(target, []).append(redaction)
        return found

    def remove_early(self, target: str) -> None:
        self._transaction.defer_text("DELETE FROM early_redactions WHERE target = %s", target)
