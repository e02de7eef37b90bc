"""A real Synapse beside allied Parleys: its own process from its own venv, SQLite, TLS of the tests' authority.

    async with running_synapse(place / "synapse", authority) as synapse: ...

It is called localhost with a port, on which stands a relay: `cut` and `heal` part it from all others, as an `Ally`. It
runs as others run it, but for rate limits, the address ranges that it may call, and the pauses after a failed call.
https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.builders.certificate import CertificateAuthority
from tests.builders.process import free_port
from tests.builders.relay import Relay, running_relay
from tests.builders.waiting import until

ROOT = Path(__file__).parents[3]
# A busy machine needs its time for the imports and the schema.
LONGEST_START = 300.0
UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}
LIMITS: dict[str, Any] = {
    "rc_message": UNLIMITED,
    "rc_registration": UNLIMITED,
    "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
    "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
    "rc_joins_per_room": UNLIMITED,
    "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
    "rc_room_creation": UNLIMITED,
    "rc_admin_redaction": UNLIMITED,
    "rc_presence": {"per_user": UNLIMITED},
    "rc_profile": UNLIMITED,
    "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "sleep_delay": 1, "reject_limit": 100_000},
}
# By default it does not call a server for ten minutes after a failure, and repeats a call for minutes.
FEDERATION: dict[str, Any] = {
    "client_timeout": "20s",
    "max_short_retry_delay": 500,
    "max_long_retry_delay": 500,
    "max_short_retries": 1,
    "max_long_retries": 1,
    "destination_min_retry_interval": 500,
    "destination_retry_multiplier": 1,
    "destination_max_retry_interval": "1s",
}


class NoSynapse(Exception):
    """It cannot be had, did not start, or did not stop."""


def find_python() -> Path:
    """That of the venv which PARLEY_SYNAPSE_VENV names, else of our own, which is built if it is not there."""
    named = os.environ.get("PARLEY_SYNAPSE_VENV")
    venv = Path(named) if named else ROOT / ".cache" / "synapse-venv"
    if not named:
        subprocess.run([ROOT / "scripts" / "synapse-venv"], check=True, stdout=subprocess.DEVNULL)
    python = venv / "bin" / "python"
    if not python.exists():
        raise NoSynapse(f"there is no Python in {venv}; see scripts/synapse-venv")
    return python


class Synapse:
    """`name` is its server name, `url` where its clients go, `settings` what stands in its file beyond the usual."""

    def __init__(self, directory: Path, authority: CertificateAuthority, **settings: Any) -> None:
        directory.mkdir()
        self._directory = directory
        self._python = find_python()
        self._port, self.federation_port, self.behind_port = free_port(), free_port(), free_port()
        self.name = f"localhost:{self.federation_port}"
        self.url = f"http://127.0.0.1:{self._port}"
        self.relay: Relay | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._write("homeserver.json", self._settings(authority) | settings)
        self._write("log.json", self._logs())

    def cut(self) -> None:
        """No other server reaches this one."""
        assert self.relay is not None
        self.relay.cut()

    def heal(self) -> None:
        assert self.relay is not None
        self.relay.heal()

    async def start(self) -> None:
        """Returns when it says that it is healthy."""
        if not (self._directory / "signing.key").exists():
            await self._make_keys()
        self._spawn()
        await until(self._is_healthy, LONGEST_START, "Synapse is healthy")

    def _spawn(self) -> None:
        with (self._directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(), cwd=self._directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    async def stop(self) -> None:
        """Nothing of it runs any more."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await until(lambda: process.poll() is not None, what="Synapse ends")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            self._process = None

    def log(self) -> str:
        """What it wrote into its log."""
        path = self._directory / "synapse.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def _make_keys(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command(), "--generate-keys", cwd=self._directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, said = await process.communicate()
        if process.returncode != 0:
            raise NoSynapse(f"it made no keys: {said.decode(errors='replace')[-2000:]}")

    async def _is_healthy(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = (self._directory / "output.log").read_text(errors="replace")
            raise NoSynapse(f"it ended with status {self._process.returncode}: {said[-300:]}")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            try:
                async with session.get(self.url + "/health") as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

    def _command(self) -> list[str]:
        return [str(self._python), "-m", "synapse.app.homeserver", "-c", str(self._directory / "homeserver.json")]

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """JSON is YAML too."""
        (self._directory / name).write_text(json.dumps(content))

    def _settings(self, authority: CertificateAuthority) -> dict[str, Any]:
        here = self._directory
        certificate, key = authority.issue("localhost")
        return {
            "server_name": self.name,
            "listeners": [
                _listener(self._port, "client", tls=False),
                _listener(self.behind_port, "federation", tls=True),
            ],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(authority.ca_file)],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation": FEDERATION,
            "database": {"name": "sqlite3", "args": {"database": str(here / "synapse.db")}},
            "pid_file": str(here / "synapse.pid"),
            "log_config": str(here / "log.json"),
            "media_store_path": str(here / "media"),
            "signing_key_path": str(here / "signing.key"),
            "registration_shared_secret": "interop",
            "macaroon_secret_key": "interop",
            "form_secret": "interop",
            "report_stats": False,
            "bcrypt_rounds": 4,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            **LIMITS,
        }

    def _logs(self) -> dict[str, Any]:
        file = str(self._directory / "synapse.log")
        return {
            "version": 1,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
            "filters": {"request": {"()": "synapse.logging.context.LoggingContextFilter"}},
            "handlers": {
                "file": {
                    "class": "logging.FileHandler",
                    "formatter": "plain",
                    "filters": ["request"],
                    "filename": file,
                }
            },
            "root": {"level": "INFO", "handlers": ["file"]},
            "disable_existing_loggers": False,
        }


def _listener(port: int, resource: str, *, tls: bool) -> dict[str, Any]:
    return {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "tls": tls,
        "resources": [{"names": [resource]}],
    }


@asynccontextmanager
async def running_synapse(directory: Path, authority: CertificateAuthority, **settings: Any) -> AsyncIterator[Synapse]:
    """Started and healthy; stopped at the end."""
    synapse = Synapse(directory, authority, **settings)
    async with running_relay(synapse.federation_port, synapse.behind_port) as relay:
        synapse.relay = relay
        try:
            await synapse.start()
            yield synapse
        finally:
            await synapse.stop()
