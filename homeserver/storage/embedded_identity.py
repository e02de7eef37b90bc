"""Whose data directory this is: `parley.json` names the server and the PostgreSQL that its database was made by.

A server name is in every identifier and signature that a server ever gave out, and a database belongs to one major
version of PostgreSQL. To start with another of either would break things slowly, so we refuse at once.
"""

import json
from pathlib import Path

from homeserver.storage.durable_file import write_durably
from homeserver.storage.embedded_account import EmbeddedPostgresError

# Tells our file from any other that happens to be called parley.json.
PRODUCT = "6c1f2f43-7b0e-4d0c-9a57-2b9c1d1f0e55"
FILE_NAME = "parley.json"


def check_identity(data_directory: Path, cluster: Path, server_name: str, major: int) -> None:
    """Raises if the directory is another server's, or its database another major's; a new directory is signed."""
    path = data_directory / FILE_NAME
    if not path.exists():
        if cluster.exists():
            raise EmbeddedPostgresError(
                f"{cluster} holds a database, but {path} is missing, so it may not be Parley's. If you restored a "
                f"backup, restore {FILE_NAME} too; else choose another data directory."
            )
        content = {"product": PRODUCT, "server_name": server_name, "postgresql": major}
        write_durably(path, json.dumps(content, indent=2) + "\n")
        return
    found_name, found_major = _read(path)
    if found_name != server_name:
        raise EmbeddedPostgresError(
            f"{data_directory} belongs to the server {found_name!r}, but this one is called {server_name!r}. A server "
            f"cannot be renamed: its users and rooms carry the name. Start with server name {found_name!r}, or choose "
            "another data directory."
        )
    version = cluster / "PG_VERSION"
    if version.exists():
        found_major = version.read_text().strip()
    if found_major != str(major) and cluster.exists():
        raise EmbeddedPostgresError(
            f"The database in {cluster} was made by PostgreSQL {found_major}; this Parley brings PostgreSQL {major}. "
            "Start the Parley that made it, dump the database with that one's pg_dump, and restore it into a new data "
            "directory; or move it with pg_upgrade."
        )


def _read(path: Path) -> tuple[str, str]:
    """The server name and the major version in the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("product") != PRODUCT:
        raise EmbeddedPostgresError(
            f"{path} is not a file of Parley's. Restore it from a backup, or choose another data directory."
        )
    return str(content.get("server_name")), str(content.get("postgresql"))
