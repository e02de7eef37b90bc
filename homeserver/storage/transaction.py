"""One transaction on one connection: what repositories speak to.

Round trips cost more than statements: BEGIN travels with the first statement, statements that answer nothing
(`defer`) travel with the next one that does, or with COMMIT. Hot statements are prepared once per connection.
"""

from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
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

    def copy_rows(self, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        """Sends what was deferred, and then many rows of a table as COPY takes them: `columns` is "table (a, b, ...)".

        No row is parsed or planned as a statement, so that each costs a fraction of an INSERT's."""
        lines = ["\t".join([_COPIED[type(value)](value) for value in row]) for row in rows]
        if lines:
            if self._pending:
                self._send()
            self.statements += 1
            self._begun = True
            self._cursor.copy_expert(f"COPY {columns} FROM STDIN", BytesIO("\n".join(lines).encode()))

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
        self._pending.append(self._cursor.mogrify(statement.execute, list(map(_plain, arguments))))
        self.statements += 1

    def _send(self) -> None:
        self._begun = True
        batch = b";".join(self._pending)
        self._pending.clear()
        self._cursor.execute(batch)
        if self._fresh:
            self._session.prepared.update(self._fresh)
            self._fresh.clear()


def _plain(argument: Any) -> Any:
    """A list as the literal of an array: PostgreSQL reads it at once, and ARRAY[...] element by element."""
    return _array(argument) if type(argument) is list and argument else argument


def _array(values: list[Any]) -> str | list[Any]:
    """As it stands, if it holds something else than numbers, texts and NULL."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return "{" + ",".join(map(str, values)) + "}"
    if kinds == {str}:
        return '{"' + '","'.join(map(_escaped, values)) + '"}'
    if not kinds <= {int, str, bool, type(None)}:
        return values
    return "{" + ",".join("NULL" if one is None else f'"{_escaped(str(one))}"' for one in values) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _copied_text(text: str) -> str:
    """U+0000, which no column can hold, is for PostgreSQL to refuse."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


# How COPY wants the values of a row, by their type.
_COPIED: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "\\N",
    bool: str,
    int: str,
    str: _copied_text,
    list: lambda values: _copied_text(str(_array(values))) if values else "{}",
}
