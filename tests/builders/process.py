"""A real `parley run`: a process of its own with sockets, files, and a PostgreSQL of its own.

    async with running_server(directory) as server:
        async with MatrixClient(server.url) as alice: ...
        await server.kill9()
        await server.start()

Its data directory and its port stay the same over restarts. At the end of the block its log is read: an error that the
test did not announce (`foresee`) fails the test, whatever the clients were answered.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from tests.builders.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
PARLEY = (sys.executable, "-m", "config.main")
# What stands before the program: `tests/attacks_prove` switches a defence off in the server too.
BEFORE: Sequence[str] = ()
# Which ports the kernel gives to outgoing connections.
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _listening_ports() -> list[int]:
    """Ports that neither the kernel gives to outgoing connections, nor another worker of pytest to its servers, in an
    order of chance: what is free now is free after a restart, and each is given once."""
    low, high = (int(port) for port in OUTGOING.read_text().split()) if OUTGOING.exists() else (49_152, 65_535)
    ports = [port for port in range(10_000, 60_000) if not low <= port <= high] or list(range(10_000, 60_000))
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    own = ports[int(worker.removeprefix("gw")) :: int(workers)]
    # Tests that draw from the common generator begin it anew.
    random.SystemRandom().shuffle(own)
    return own


_PORTS = _listening_ports()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = _PORTS.pop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def environment() -> dict[str, str]:
    """Ours without settings of Parley; logs that a program can read; and every module is compiled only once."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PARLEY_")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    return own | {"PARLEY_LOG_FORMAT": "json", "PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "pycache")}


def is_alive(pid: int) -> bool:
    """Whether a process works still: one that ended and was not collected by its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class ServerProcess:
    """One server in `directory`, started any number of times. `server_name=None` leaves it to the settings file."""

    def __init__(
        self,
        directory: Path,
        *,
        server_name: str | None = "localhost",
        listen: Sequence[str] | None = None,
        arguments: Sequence[str] = (),
        program: Sequence[str] = PARLEY,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`listen`: addresses; one free port unless given, and none (`()`) if the settings file has them."""
        self.directory = directory
        self.data = directory / "data"
        self.log_file = directory / "parley.log"
        self.log_file.touch()
        self.port = free_port()
        addresses = [f"127.0.0.1:{self.port}"] if listen is None else listen
        self._command = [program[0], *BEFORE, *program[1:], "run", "--for-tests", "--data", str(self.data)]
        self._command += [] if server_name is None else ["--server-name", server_name]
        self._command += [part for address in addresses for part in ("--listen", address)]
        self._command += arguments
        self._variables = environment() | dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._foreseen: list[str] = []
        # Where this life's part of the log begins, and the part that was not checked yet.
        self._log_begin = self._log_unchecked = self.log_file.stat().st_size
        self.urls: list[str] = []
        self.postgres_pid = 0

    # beginning

    async def start(self) -> None:
        """Returns when /health says that all is well."""
        self.spawn()
        await until(self._is_listening, what="the server listens")
        await until(self.is_healthy, what="/health answers 200")
        self.postgres_pid = self._find_postgres()

    def spawn(self) -> None:
        """Starts the process and waits for nothing."""
        assert self.has_ended(), "it runs already"
        self._log_begin, self.urls = self.log_file.stat().st_size, []
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _is_listening(self) -> bool:
        assert not self.has_ended(), f"the server ended with status {self.status}:\n{self.log()[-4000:]}"
        said = [str(line.get("message", "")) for line in lines_of(self.log(self._log_begin))]
        self.urls = [text.rpartition(" at ")[2] for text in said if text.startswith("Parley serves ")]
        return bool(self.urls)

    async def is_healthy(self) -> bool:
        """Whether /health answers 200 on the first listener."""
        # Whose certificate it is does not matter here.
        connector, timeout = aiohttp.TCPConnector(ssl=False), aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                async with session.get(self.url + "/health") as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

    def _find_postgres(self) -> int:
        """The process of the embedded PostgreSQL; 0 if there is none."""
        with suppress(FileNotFoundError):
            first = (self.data / "postgresql" / "postmaster.pid").read_text().partition("\n")[0]
            return abs(int(first or "0"))
        return 0

    # facts

    @property
    def url(self) -> str:
        """The first listener's."""
        return self.urls[0]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs; -9 if it was killed."""
        return None if self._process is None else self._process.poll()

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def log(self, begin: int = 0) -> str:
        """Everything that it wrote on standard output and error, in all its lives."""
        with self.log_file.open("rb") as file:
            file.seek(begin)
            return file.read().decode()

    def messages(self, level: str | None = None) -> list[str]:
        """What it logged in this life, of one level or of all."""
        lines = lines_of(self.log(self._log_begin))
        return [str(line.get("message")) for line in lines if level in (None, line.get("level"))]

    async def waiting_syncs(self) -> int:
        """How many long-polls wait at this moment."""
        return int(await self.metric("parley_waiting_syncs"))

    async def metric(self, name: str) -> float:
        """The figure that /metrics shows, without labels."""
        async with aiohttp.ClientSession() as session, session.get(self.url + "/metrics") as response:
            assert response.status == 200
            values = [line.split()[1] for line in (await response.text()).splitlines() if line.startswith(name + " ")]
        assert values, f"there is no metric {name}"
        return float(values[0])

    # end

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self, within: float = PATIENCE) -> int:
        """The exit status, once there is one."""
        await until(self.has_ended, within, "the server ends")
        status = self.status
        assert status is not None
        return status

    async def stop(self) -> int:
        """As an operator does it: SIGTERM. Returns the exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill9(self) -> None:
        """Without a chance to say goodbye. Its PostgreSQL notices by itself."""
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def kill9_postgres(self) -> None:
        """Takes PostgreSQL's first process away; the others follow."""
        self.foresee("PostgreSQL ended with status", "gave up on the database")
        # What a process of it says to somebody who is just connecting, libpq prints by itself.
        self.foresee("FATAL:  terminating connection due to unexpected postmaster exit")
        os.kill(self.postgres_pid, signal.SIGKILL)
        await until(lambda: not is_alive(self.postgres_pid), what="PostgreSQL is dead")

    async def restarted_postgres(self) -> None:
        """Returns when another PostgreSQL runs, and /health says so."""

        def is_new() -> bool:
            found = self._find_postgres()
            return found not in (0, self.pid, self.postgres_pid) and is_alive(found)

        await until(is_new, what="PostgreSQL is started again")
        await until(self.is_healthy, what="/health answers 200 again")
        self.postgres_pid = self._find_postgres()

    async def dispose(self) -> None:
        """Nothing of it runs any more."""
        if self._process is not None and not self.has_ended():
            self._process.kill()
            self._process.wait()
        for pid in {self.postgres_pid, self._find_postgres()} - {0}:
            with suppress(AssertionError):
                await until(partial(_is_gone, pid), 20, "PostgreSQL ends with its Parley")
            if not _is_gone(pid):
                os.kill(pid, signal.SIGKILL)

    async def refusal(self) -> tuple[int, str]:
        """Starts what cannot start: its exit status, and what it printed."""
        self.spawn()
        status = await self.ended()
        self._log_unchecked = self.log_file.stat().st_size
        printed = [str(line["message"]) for line in lines_of(self.log(self._log_begin)) if "level" not in line]
        return status, "\n".join(printed)

    # the log

    def foresee(self, *texts: str) -> None:
        """Until the next check, errors with one of these texts in their message are what the test is about."""
        self._foreseen += texts

    def check_log(self) -> None:
        """AssertionError if the log has, since the last check, an error or a traceback that nobody foresaw."""
        begin, self._log_unchecked = self._log_unchecked, self.log_file.stat().st_size
        wrong = [line for line in lines_of(self.log(begin)) if self._is_wrong(line)]
        self._foreseen.clear()
        if wrong:
            told = "\n".join(json.dumps(line)[:4000] for line in wrong[:5])
            raise AssertionError(f"the server logged {len(wrong)} errors:\n{told}")

    def _is_wrong(self, line: Mapping[str, Any]) -> bool:
        if line.get("level") in ("DEBUG", "INFO", "WARNING") and "traceback" not in line:
            return False
        return not any(text in str(line.get("message")) for text in self._foreseen)


def lines_of(log: str) -> Iterable[Mapping[str, Any]]:
    """The lines of a log in JSON. What is none was not logged, but printed by something that broke."""
    for line in log.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        yield found if isinstance(found, dict) else {"message": line}


def _is_gone(pid: int) -> bool:
    """Whether no PostgreSQL has this number; it may be somebody else's by now."""
    try:
        return not is_alive(pid) or b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def server_directory() -> Iterator[Path]:
    """A directory for a server, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="parley-story-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)  # the account that runs PostgreSQL must be able to enter
        yield Path(directory)


@asynccontextmanager
async def running_server(directory: Path, **options: Any) -> AsyncIterator[ServerProcess]:
    """Started and healthy; `options` are those of `ServerProcess`. Stopped, and its log read, at the end."""
    async with disposed(ServerProcess(directory, **options)) as server:
        await server.start()
        yield server


@asynccontextmanager
async def disposed(server: ServerProcess) -> AsyncIterator[ServerProcess]:
    """Whatever the block does with it: at the end it is stopped, nothing of it is left, and its log is read."""
    try:
        yield server
        if not server.has_ended():
            assert await server.stop() == 0
        server.check_log()
    finally:
        await server.dispose()


@contextmanager
def shared_server(directory: Path) -> Iterator[ServerProcess]:
    """A server for many tests, each on a loop of its own. Whoever stops it need not start it again."""
    with shared(ServerProcess(directory)) as server:
        yield server


@contextmanager
def shared(server: ServerProcess) -> Iterator[ServerProcess]:
    """The same with one that was made, and not started yet."""

    async def end() -> None:
        if not server.has_ended():
            assert await server.stop() == 0

    try:
        yield server
        asyncio.run(end())
        server.check_log()
    finally:
        asyncio.run(server.dispose())


@asynccontextmanager
async def borrowed(server: ServerProcess) -> AsyncIterator[ServerProcess]:
    """A shared server for one test: it runs, and what it logs meanwhile is this test's."""
    if server.has_ended():
        await server.start()
    server.check_log()
    yield server
    server.check_log()


@contextmanager
def prepared_data() -> Iterator[Path]:
    """A data directory of `localhost` that was made and left by a server: copies of it start sooner than new ones."""
    with server_directory() as directory:

        async def make() -> Path:
            async with running_server(directory) as server:
                return server.data

        yield asyncio.run(make())


def copy_data(prepared: Path, directory: Path) -> None:
    """Puts a copy where a `ServerProcess` in `directory` looks for it; owners and rights stay what they are."""
    subprocess.run(["cp", "-a", prepared, directory / "data"], check=True)
