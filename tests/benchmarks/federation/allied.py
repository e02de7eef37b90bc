"""Two servers of a kind that trust each other: each with its own PostgreSQL, a client listener, and one over TLS.

They are called 127.0.0.1 with the port of that listener, so that nobody need be asked where they are.
"""

from pathlib import Path
from typing import Any

import orjson

from tests.benchmarks.servers import Hash, Parley, Synapse, free_port
from tests.builders.certificate import CertificateAuthority


class AlliedSynapse(Synapse):
    """As in the other benchmarks, with federation."""

    def __init__(self, directory: Path, core: int, authority: CertificateAuthority) -> None:
        super().__init__(directory, core)
        self.federation_port = free_port()
        self._authority = authority
        self._certificate = authority.issue("127.0.0.1")

    @property
    def server_name(self) -> str:
        return f"127.0.0.1:{self.federation_port}"

    def command(self, password_hash: Hash) -> list[str | Path]:
        command = super().command(password_hash)
        file = self.directory / "homeserver.json"
        settings: dict[str, Any] = orjson.loads(file.read_bytes())
        certificate, key = self._certificate
        settings["server_name"] = self.server_name
        settings["listeners"].append(
            {
                "port": self.federation_port,
                "bind_addresses": ["127.0.0.1"],
                "type": "http",
                "tls": True,
                "resources": [{"names": ["federation"]}],
            }
        )
        settings |= {
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(self._authority.ca_file)],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "sleep_delay": 1, "reject_limit": 100_000},
        }
        file.write_bytes(orjson.dumps(settings))
        return command


class AlliedParley(Parley):
    """As in the other benchmarks, with federation."""

    def __init__(self, directory: Path, core: int, authority: CertificateAuthority) -> None:
        super().__init__(directory, core)
        self.federation_port = free_port()
        self._authority = authority
        self._certificate = authority.issue("127.0.0.1")

    @property
    def server_name(self) -> str:
        return f"127.0.0.1:{self.federation_port}"

    def command(self, password_hash: Hash) -> list[str | Path]:
        command = super().command(password_hash)
        certificate, key = self._certificate
        settings = self._settings(password_hash) | {
            "server_name": self.server_name,
            "listeners": [
                {"address": f"127.0.0.1:{self.port}", "resources": ["client", "metrics"]},
                {
                    "address": f"127.0.0.1:{self.federation_port}",
                    "resources": ["federation"],
                    "tls": {"certificate": str(certificate), "key": str(key)},
                },
            ],
            "federation": {"ca_file": str(self._authority.ca_file)},
        }
        (self.directory / "parley.yaml").write_bytes(orjson.dumps(settings))
        end = command.index("--server-name")
        return command[:end] + [part for part in command[end:] if part == "--for-tests"]


KINDS: dict[str, type[AlliedSynapse] | type[AlliedParley]] = {"synapse": AlliedSynapse, "parley": AlliedParley}
