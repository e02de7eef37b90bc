"""The servers under test, each on a PostgreSQL cluster of its own: Synapse from PyPI, and Parley from this checkout.

Both: server name `localhost`, plain HTTP on loopback, open registration, no rate limits, log level WARNING.  The
password hash is the cheapest that the server allows, unless a scenario asks for the default one.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

import orjson

from tests.benchmarks.machine import child_setup, memory_of
from tests.benchmarks.postgres import DATABASE, ROLE, Cluster

ROOT = Path(__file__).resolve().parents[2]
SYNAPSE_VENV = Path(os.environ.get("PARLEY_SYNAPSE_VENV", ROOT / ".cache" / "synapse-venv"))
PARLEY_COMMAND = Path(sys.executable).parent / "parley"
LONGEST_START_SECONDS = 180.0
LONGEST_STOP_SECONDS = 180.0

Hash = Literal["cheapest", "default"]


class ServerFailed(Exception):
    """A server did not start or stop; the text says where its log is."""


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


class Server:
    """A homeserver process with its cluster, in one directory that can be copied while it is stopped."""

    name: str
    title: str

    def __init__(self, directory: Path, core: int) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.cluster = Cluster(directory / "pg", core)
        self.port = free_port()
        self.peak_memory = 0.0
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, int]:
        """The roots of the process trees under test."""
        assert self._process is not None
        return {"server": self._process.pid, "database": self.cluster.pid}

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def version(self) -> str:
        """What is measured."""
        raise NotImplementedError

    def fingerprint(self) -> str | None:
        """What a prepared directory depends on; None if it must be prepared anew in each run."""
        raise NotImplementedError

    def command(self, password_hash: Hash) -> list[str | Path]:
        """Writes the settings and gives the command that runs the server."""
        raise NotImplementedError

    def first_time(self) -> None:
        """What an empty directory needs besides the database."""

    def create(self) -> None:
        """Makes the database and the rest in an empty directory; the cluster runs afterwards, the server does not."""
        self.cluster.create()
        self.first_time()

    def start(self, password_hash: Hash = "cheapest") -> None:
        """Starts the server (and its cluster if that rests) and waits until it says that it is healthy."""
        if not self.cluster.running:
            self.cluster.start()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(password_hash),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                # Not our own PARLEY_ variables: each would be a setting to Parley.
                env={name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")},
                preexec_fn=child_setup(self._core, signal.SIGTERM),
                start_new_session=True,
            )
        deadline = time.monotonic() + LONGEST_START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{self.title} did not start: see {self.log_path}\n{self.log_end()}")
            time.sleep(0.1)

    @property
    def log_path(self) -> Path:
        return self.directory / "server.log"

    def log_end(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def note_memory(self) -> None:
        """Remembers the highest resident memory of the server so far, over its restarts."""
        self.peak_memory = max(self.peak_memory, memory_of(self.pids["server"]).peak)

    def stop_server(self) -> None:
        """Stops the server; its cluster goes on."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.note_memory()
            self._process.terminate()
        try:
            self._process.wait(LONGEST_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise ServerFailed(f"{self.title} did not stop: see {self.log_path}") from error
        finally:
            self._process = None

    def restart(self, password_hash: Hash = "cheapest") -> None:
        """Stops and starts the server alone."""
        self.stop_server()
        self.start(password_hash)

    def stop(self) -> None:
        """Stops the server and its cluster: the directory may be copied."""
        try:
            self.stop_server()
        finally:
            self.cluster.stop()

    def dispose(self) -> None:
        """Stops everything and leaves only the directory."""
        try:
            self.stop_server()
        finally:
            self.cluster.dispose()


UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}
SYNAPSE_LIMITS: dict[str, Any] = {
    "rc_message": UNLIMITED,
    "rc_registration": UNLIMITED,
    "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
    "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
    "rc_joins_per_room": UNLIMITED,
    "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
    "rc_presence": {"per_user": UNLIMITED},
    "rc_room_creation": UNLIMITED,
    "rc_user_directory": UNLIMITED,
    "rc_profile": UNLIMITED,
}


class Synapse(Server):
    """Synapse in one process, as a small installation runs it: no workers, default caches, presence on.

    It comes from PyPI into a venv of its own (scripts/synapse-venv), so that its licence and its dependencies
    stay out of ours.  https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
    """

    name = "synapse"
    title = "Synapse"

    def _python(self) -> Path:
        python = SYNAPSE_VENV / "bin" / "python"
        if not python.exists():
            raise ServerFailed(f"no Synapse in {SYNAPSE_VENV}: run scripts/synapse-venv")
        return python

    def version(self) -> str:
        code = "from importlib.metadata import version; print(version('matrix-synapse'))"
        answer = subprocess.run([self._python(), "-c", code], check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    def fingerprint(self) -> str | None:
        return f"{self.version()} {Cluster.version()} {orjson.dumps(SYNAPSE_LIMITS).decode()}"

    def first_time(self) -> None:
        command = [*self.command("cheapest"), "--generate-keys"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory)
        if done.returncode != 0:
            raise ServerFailed(f"Synapse made no keys: {done.stderr[-2000:]}")

    def command(self, password_hash: Hash) -> list[str | Path]:
        here = self.directory
        settings = {
            "server_name": "localhost",
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client"]}],
                }
            ],
            "database": {
                "name": "psycopg2",
                "args": {
                    "user": ROLE,
                    "database": DATABASE,
                    "host": str(self.cluster.socket_directory),
                    "cp_min": 5,
                    "cp_max": 10,
                },
            },
            "pid_file": str(here / "synapse.pid"),
            "log_config": str(here / "log.json"),
            "media_store_path": str(here / "media"),
            "signing_key_path": str(here / "signing.key"),
            "registration_shared_secret": "benchmark",
            "macaroon_secret_key": "benchmark",
            "form_secret": "benchmark",
            "report_stats": False,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "presence": {"enabled": True},
            **({"bcrypt_rounds": 4} if password_hash == "cheapest" else {}),
            **SYNAPSE_LIMITS,
        }
        log = {
            "version": 1,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
            "handlers": {
                "file": {"class": "logging.FileHandler", "formatter": "plain", "filename": str(here / "synapse.log")}
            },
            "root": {"level": "WARNING", "handlers": ["file"]},
            "disable_existing_loggers": False,
        }
        (here / "homeserver.json").write_bytes(orjson.dumps(settings))
        (here / "log.json").write_bytes(orjson.dumps(log))
        return [self._python(), "-m", "synapse.app.homeserver", "-c", here / "homeserver.json"]


class Parley(Server):
    """Parley from this checkout, on the cluster that we started (`database.url`) in place of its embedded one."""

    name = "parley"
    title = "Parley"

    def version(self) -> str:
        answer = subprocess.run(
            ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
        return answer.stdout.strip() or "uncommitted"

    def fingerprint(self) -> str | None:
        return None

    def command(self, password_hash: Hash) -> list[str | Path]:
        if not PARLEY_COMMAND.exists():
            raise ServerFailed(f"no {PARLEY_COMMAND}: install Parley into this environment")
        settings = self.directory / "parley.yaml"
        # JSON is YAML too.
        settings.write_bytes(orjson.dumps(self._settings(password_hash)))
        command: list[str | Path] = [PARLEY_COMMAND, "run", "--config", settings, "--data", self.directory / "data"]
        command += ["--server-name", "localhost", "--listen", f"127.0.0.1:{self.port}"]
        return command + (["--for-tests"] if password_hash == "cheapest" else [])

    def _settings(self, password_hash: Hash) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "database": {"url": self.cluster.url},
            "log": {"level": "warning"},
            # The crowd comes from one address.
            "http": {"max_connections": 25_000, "max_connections_per_address": 25_000},
        }
        if password_hash == "default":
            # What --for-tests would have set, but for the hash.
            settings |= {
                "registration": {"policy": "open", "allow_unverified_open": True},
                "limits": {"enabled": False},
            }
        return settings


KINDS: dict[str, type[Server]] = {kind.name: kind for kind in (Synapse, Parley)}
