"""User-interactive authentications of which some stages are completed and some are not."""

from dataclasses import dataclass

import orjson

from homeserver.storage.transaction import Row, Transaction

COLUMNS = "session_id, operation, request_digest, completed, details, created_ts"


@dataclass(frozen=True, slots=True)
class InteractiveSession:
    """`operation` and `request_digest` say what is being authorised; `details` is what the stages remember."""

    session_id: str
    operation: str
    request_digest: bytes
    completed: tuple[str, ...]
    details: dict[str, str]
    created_ts: int


class InteractiveSessions:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, session_id: str) -> InteractiveSession | None:
        return _first(
            self._transaction.text(f"SELECT {COLUMNS} FROM interactive_sessions WHERE session_id = %s", session_id)
        )

    def lock(self, session_id: str) -> InteractiveSession | None:
        """As `find`, and whoever else locks it waits until the transaction ends."""
        return _first(
            self._transaction.text(
                f"SELECT {COLUMNS} FROM interactive_sessions WHERE session_id = %s FOR UPDATE", session_id
            )
        )

    def put(self, session: InteractiveSession) -> None:
        self._transaction.defer_text(
            f"INSERT INTO interactive_sessions ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (session_id)"
            " DO UPDATE SET completed = EXCLUDED.completed, details = EXCLUDED.details",
            session.session_id,
            session.operation,
            session.request_digest,
            orjson.dumps(session.completed).decode(),
            orjson.dumps(session.details).decode(),
            session.created_ts,
        )

    def remove(self, session_id: str) -> None:
        self._transaction.defer_text("DELETE FROM interactive_sessions WHERE session_id = %s", session_id)

    def remove_old(self, before_ts: int, keep: int) -> list[InteractiveSession]:
        """Removes those from before `before_ts`, and the oldest beyond `keep` of them; returns what it removed."""
        rows = self._transaction.text(
            "DELETE FROM interactive_sessions WHERE created_ts < %s OR session_id IN (SELECT session_id FROM"
            f" interactive_sessions ORDER BY created_ts DESC, session_id OFFSET %s) RETURNING {COLUMNS}",
            before_ts,
            keep,
        )
        return [_session(row) for row in rows]


def _first(rows: list[Row]) -> InteractiveSession | None:
    return _session(rows[0]) if rows else None


def _session(row: Row) -> InteractiveSession:
    session_id, operation, digest, completed, details, created_ts = row
    return InteractiveSession(
        session_id, operation, bytes(digest), tuple(orjson.loads(completed)), orjson.loads(details), created_ts
    )
