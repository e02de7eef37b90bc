"""The signing keys of other servers: every key that one ever told, and its newest answer for those who ask a notary."""

from collections.abc import Iterable, Sequence

from homeserver.domain.canonical import canonical_json, parse_json
from homeserver.domain.server_keys import KeyAnswer, ServerKey
from homeserver.storage.transaction import Statement, Transaction

LIST_KEYS = Statement(
    "list_server_keys",
    "text[]",
    "SELECT server_name, key_id, key, valid_until_ts, expired_ts FROM server_keys WHERE server_name = ANY($1)",
)


class ServerKeyring:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_keys(self, server_names: Sequence[str]) -> dict[str, list[ServerKey]]:
        """By server; of those that are not known, nothing."""
        found: dict[str, list[ServerKey]] = {}
        for server, key_id, key, valid, expired in self._transaction.fetch(LIST_KEYS, list(server_names)):
            found.setdefault(server, []).append(ServerKey(key_id, bytes(key), valid, expired))
        return found

    def set_keys(self, server_name: str, keys: Iterable[ServerKey]) -> None:
        """In place of all that were known."""
        rows = [(server_name, key.key_id, key.key, key.valid_until_ts, key.expired_ts) for key in keys]
        self._transaction.defer_text(
            "DELETE FROM server_keys WHERE server_name = %s AND key_id <> ALL(%s)",
            server_name,
            [row[1] for row in rows],
        )
        self._transaction.defer_rows(
            "INSERT INTO server_keys (server_name, key_id, key, valid_until_ts, expired_ts)",
            "(%s, %s, %s, %s, %s)",
            rows,
            "ON CONFLICT (server_name, key_id) DO UPDATE SET key = EXCLUDED.key,"
            " valid_until_ts = EXCLUDED.valid_until_ts, expired_ts = EXCLUDED.expired_ts",
        )

    def list_answers(self, server_names: Sequence[str]) -> dict[str, KeyAnswer]:
        """By server, as `list_keys`."""
        rows = self._transaction.text(
            "SELECT server_name, document, valid_until_ts, fetched_ts FROM server_key_answers"
            " WHERE server_name = ANY(%s)",
            list(server_names),
        )
        return {
            server: KeyAnswer(parse_json(document.encode(), strict=False), valid_until_ts, fetched_ts)
            for server, document, valid_until_ts, fetched_ts in rows
        }

    def set_answer(self, server_name: str, answer: KeyAnswer) -> None:
        self._transaction.defer_text(
            "INSERT INTO server_key_answers (server_name, document, valid_until_ts, fetched_ts)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT (server_name) DO UPDATE SET document = EXCLUDED.document,"
            " valid_until_ts = EXCLUDED.valid_until_ts, fetched_ts = EXCLUDED.fetched_ts",
            server_name,
            canonical_json(answer.document).decode(),
            answer.valid_until_ts,
            answer.fetched_ts,
        )
