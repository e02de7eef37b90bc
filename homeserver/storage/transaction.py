"""One transaction on one connection: what repositories speak to.

Round trips cost more than statements: BEGIN travels with the first statement, statements that answer nothing
(`defer`) travel with the next one that does, or with COMMIT. Hot statements are prepared once per connection.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor
from sqlalchemy import Connection

Row = tuple[Any, ...]


class Statement:
    """A hot statement. `types` are the SQL types of $1, $2, ... in `sql`."""

    __slots__ = ("execute", "name", "prepare")

    def __init__(self, name: str, types: str, sql: str) -> None:
        self.name = name
        count = len(types.split(",")) if types else 0
        self.prepare = f"PREPARE {name}{f' ({types})' if count else ''} AS {sql}".encode()
        self.execute = f"EXECUTE {name}" + (f"({','.join(['%s'] * count)})" if count else "")


class Session:
    """A connection that lives as long as its thread, and the names that are prepared on it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        raw: Any = connection.connection.dbapi_connection
        self.cursor: Cursor = raw.cursor()
        self.prepared: set[str] = set()
        # The server process behind the connection.
        self.backend: int = raw.info.backend_pid


class Transaction:
    """Begun by its first statement. `begin` is the text that begins it, empty for autocommit."""

    def __init__(self, session: Session, begin: bytes) -> None:
        self._session = session
        self._cursor = session.cursor
        self._pending: list[bytes] = [begin] if begin else []
        self._in_block = bool(begin)
        self._begun = False
        self._fresh: list[str] = []
        # How many statements were sent, BEGIN and COMMIT included: tests count them.
        self.statements = len(self._pending)

    def defer(self, statement: Statement, *arguments: Any) -> None:
        """Sends `statement` together with whatever is sent next. Its answer is not looked at."""
        self._queue(statement, arguments)

    def fetch(self, statement: Statement, *arguments: Any) -> list[Row]:
        """Sends what was deferred and then `statement`; its rows."""
        self._queue(statement, arguments)
        self._send()
        return self._cursor.fetchall()

    def text(self, sql: str, *arguments: Any) -> list[Row]:
        """The rows of a statement that is not hot enough to be prepared; parameters are %s."""
        self._pending.append(self._cursor.mogrify(sql, arguments))
        self.statements += 1
        self._send()
        return self._cursor.fetchall() if self._cursor.description else []

    def defer_text(self, sql: str, *arguments: Any) -> None:
        self._pending.append(self._cursor.mogrify(sql, arguments))
        self.statements += 1

    def defer_rows(self, head: str, template: str, rows: Iterable[Sequence[Any]], tail: str = "") -> None:
        """One INSERT of many rows: `head` VALUES `template`, `template` ... `tail`. Nothing if there are no rows."""
        values = [self._cursor.mogrify(template, row) for row in rows]
        if values:
            self._pending.append(head.encode() + b" VALUES " + b",".join(values) + b" " + tail.encode())
            self.statements += 1

    def commit(self) -> None:
        """Sends what was deferred and COMMIT in one round trip."""
        if not self._begun and len(self._pending) == self._in_block:
            self._pending.clear()  # nothing was asked of it
            self.statements = 0
            return
        if self._in_block:
            self._pending.append(b"COMMIT")
            self.statements += 1
        if self._pending:
            self._send()

    def roll_back(self) -> None:
        """Ends the transaction without effect. What was prepared meanwhile may be missing, so all of it goes."""
        self._pending.clear()
        if self._begun:
            self._cursor.execute(b"ROLLBACK; DEALLOCATE ALL" if self._in_block else b"DEALLOCATE ALL")
            self._session.prepared.clear()

    def _queue(self, statement: Statement, arguments: Sequence[Any]) -> None:
        if statement.name not in self._session.prepared and statement.name not in self._fresh:
            self._pending.append(statement.prepare)
            self._fresh.append(statement.name)
        self._pending.append(self._cursor.mogrify(statement.execute, arguments))
        self.statements += 1

    def _send(self) -> None:
        self._begun = True
        batch = b";".join(self._pending)
        self._pending.clear()
        self._cursor.execute(batch)
        if self._fresh:
            self._session.prepared.update(self._fresh)
            self._fresh.clear()
