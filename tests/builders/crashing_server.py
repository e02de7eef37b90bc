"""A Parley that dies on request, at one statement of one transaction: an entry point for tests only.

    python -m tests.builders.crashing_server CRASHES run --for-tests --data DIR ...

is `parley run ...`, but a client may order a crash by the transaction id of what it sends:

    crash.<after>.<victim>.<anything>

ends `victim` when that transaction has executed `after` statements (BEGIN is the first, COMMIT the last), where

    parley      is this process, by SIGKILL
    both        is PostgreSQL with all its processes, and then this process
    postgres    is PostgreSQL alone: Parley is cut off, and must go on by itself
    postmaster  is PostgreSQL's first process: its others may still finish what they are at
    connection  is this transaction's connection, and so the answer to its last statement

Each order is carried out once, also over restarts: CRASHES is a file with those that were. So the same request, sent
again, succeeds, and a test sees in the file which orders were reached.
"""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2

from config.main import main
from homeserver.storage import database
from homeserver.storage.transaction import Transaction

ORDER = re.compile(rb"crash\.(\d+)\.(\w+)\.[\w-]+")


class Crash:
    """An order to crash."""

    def __init__(self, text: bytes, after: int, victim: str) -> None:
        self.text, self.after, self.victim = text, after, victim


class Doom:
    """Knows which orders were carried out, and carries them out."""

    def __init__(self, crashes: Path, data: Path) -> None:
        self._crashes = crashes
        self._data = data

    def ordered(self, batch: bytes) -> Crash | None:
        """The order that stands in some statements, unless it was carried out."""
        found = ORDER.search(batch)
        if found is None or found[0] in self._crashes.read_bytes().split():
            return None
        return Crash(found[0], int(found[1]), found[2].decode())

    def strike(self, crash: Crash) -> None:
        """Returns if Parley is to live on; then its connection is gone."""
        with self._crashes.open("ab") as file:
            file.write(crash.text + b"\n")
        if crash.victim not in ("parley", "connection"):
            self._kill_postgres(whole=crash.victim != "postmaster")
        if crash.victim in ("parley", "both"):
            os.kill(os.getpid(), signal.SIGKILL)

    def _kill_postgres(self, whole: bool) -> None:
        first = int((self._data / "postgresql" / "postmaster.pid").read_text().splitlines()[0])
        others = list(children(first)) if whole else []
        for pid in (first, *others):
            os.kill(pid, signal.SIGKILL)


def children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == parent:
                yield int(entry.name)


def doomed(doom: Doom) -> type[Transaction]:
    """Transactions that obey orders to crash."""

    class DoomedTransaction(Transaction):
        crash: Crash | None = None
        executed = 0

        def _send(self) -> None:
            if self.crash is None:
                self.crash = doom.ordered(b";".join(self._pending))
            if self.crash is None:
                self.executed += sum(not is_preparation(statement) for statement in self._pending)
                super()._send()
                return
            held, self._pending = self._pending, []
            for index, statement in enumerate(held):
                if self.executed == self.crash.after:
                    self._strike(self.crash)
                self._pending.append(statement)
                self.executed += not is_preparation(statement)
                if self.executed == self.crash.after or index == len(held) - 1:
                    super()._send()
            if self.executed == self.crash.after:
                self._strike(self.crash)

        def _strike(self, crash: Crash) -> None:
            doom.strike(crash)
            self._cursor.connection.close()
            raise psycopg2.OperationalError("the connection was cut by a test")

    return DoomedTransaction


def is_preparation(statement: bytes) -> bool:
    """Done once per connection, so it is not counted."""
    return statement.startswith(b"PREPARE")


if __name__ == "__main__":
    crashes, *arguments = sys.argv[1:]
    doom = Doom(Path(crashes), Path(arguments[arguments.index("--data") + 1]))
    # The one place that begins transactions finds ours under this name.
    vars(database)["Transaction"] = doomed(doom)
    sys.exit(main(arguments))
