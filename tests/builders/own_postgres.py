"""A PostgreSQL of the operating system's (Debian's package), and a server that uses it by `database.url`.

Set up as docs/howto/own-database.md tells an operator, with that page's SQL: a role with a password, over TCP. Only
that it need not survive a power cut is different. The embedded one is not here: the fixture `cluster` has it.
"""

import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from tests.builders.process import ROOT, ServerProcess, free_port
from tests.builders.waiting import until

PAGE = ROOT / "docs" / "howto" / "own-database.md"
PASSWORD = "a%20long%20one"  # as a URL has it
ACCOUNTS = ("postgres", "nobody")  # PostgreSQL refuses to be root
_PR_SET_PDEATHSIG = 1
_ENDED_SECONDS = 60


def programs() -> Path:
    """The folder with initdb and postgres: the newest of Debian's, or what the PATH has."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    path = str(found[-1]) if found else shutil.which("initdb")
    assert path is not None, "this test needs PostgreSQL from the operating system: apt-get install postgresql"
    return Path(path).parent


class OwnPostgres:
    """One cluster and the database `parley` in it; started any number of times, at the same port."""

    def __init__(self, directory: Path) -> None:
        """`directory` is empty, and the account that runs PostgreSQL may enter it."""
        self._directory = directory / "cluster"
        self._log = directory / "postgres.log"
        self._port = free_port()
        self._programs = programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._account: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            self._account = next(known[name] for name in ACCOUNTS if name in known)
            os.chown(directory, self._account.pw_uid, self._account.pw_gid)

    @property
    def url(self) -> str:
        """As an operator writes it into `database.url`."""
        return f"postgresql://parley:{PASSWORD}@127.0.0.1:{self._port}/parley"

    async def create(self) -> None:
        """Makes the cluster as Debian does it, starts it, and runs the SQL of our page."""
        made = self._popen(
            *(self._programs / "initdb", "-D", self._directory, "-U", "postgres", "-E", "UTF8", "--no-sync"),
            *("--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256"),
        )
        assert made.wait() == 0, self._log.read_text()
        await self.start()
        page = re.search(r"^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert page is not None, f"{PAGE} has no SQL"
        administrator = psycopg2.connect(
            host=str(self._directory.parent), port=self._port, user="postgres", dbname="postgres"
        )
        try:
            administrator.autocommit = True
            with administrator.cursor() as cursor:
                for statement in page[1].strip().split(";\n"):
                    cursor.execute(statement)
        finally:
            administrator.close()

    async def start(self) -> None:
        """Returns when it takes connections; at once if it runs."""
        if self._is_running():
            return
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self._directory.parent}", "fsync=off")
        self._process = self._popen(
            *(self._programs / "postgres", "-D", self._directory, "-p", str(self._port)),
            *(part for setting in settings for part in ("-c", setting)),
        )
        await until(self._is_ready, what="PostgreSQL is ready")

    async def stop(self) -> None:
        """As `systemctl restart` stops it: whoever is connected is cut off."""
        await self._end(signal.SIGINT)

    async def kill9(self) -> None:
        """Takes its first process away; the others follow."""
        await self._end(signal.SIGKILL)

    def dispose(self) -> None:
        """Nothing of it runs any more."""
        if self._process is not None and self._is_running():
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_ENDED_SECONDS)

    async def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await until(lambda: not self._is_running(), what="PostgreSQL ends")

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _is_ready(self) -> bool:
        assert self._is_running(), f"PostgreSQL ended:\n{self._log.read_text()[-2000:]}"
        assert self._process is not None
        try:
            lines = (self._directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _popen(self, *command: str | Path) -> subprocess.Popen[bytes]:
        libc = ctypes.CDLL(None)

        def end_with_us() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)

        account = self._account
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
                user=None if account is None else account.pw_uid,
                group=None if account is None else account.pw_gid,
                extra_groups=None if account is None else [],
                preexec_fn=end_with_us,
            )


class ServerOnOwnPostgres(ServerProcess):
    """A Parley with `database.url`; its PostgreSQL is started with it, and goes on without it."""

    def __init__(self, directory: Path, postgres: OwnPostgres) -> None:
        super().__init__(directory, variables={"PARLEY_DATABASE_URL": postgres.url})
        self.postgres = postgres

    async def start(self) -> None:
        await self.postgres.start()
        await super().start()

    async def kill9_postgres(self) -> None:
        self.foresee("gave up on the database", "the database is away")
        await self.postgres.kill9()


@contextmanager
def postgres_directory() -> Iterator[Path]:
    """Short, since it holds a socket; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)
        yield Path(directory)
