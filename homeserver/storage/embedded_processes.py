"""Processes of the machine that may be a PostgreSQL of ours, told by their command lines and never by number alone.

A number in a pid file may belong to anything after a reboot: nothing is signalled before its command line was read.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

from homeserver.storage.embedded_account import EmbeddedPostgresError

_STOP_SECONDS = 120
_PROC = Path("/proc")


def is_postgres_of(pid: int, cluster: Path) -> bool:
    """Whether the process `pid` exists and is a PostgreSQL server on the database in `cluster`."""
    command = _command_line(pid)
    if not command or os.path.basename(command[0]) != "postgres" or "-D" not in command[:-1]:
        return False
    return Path(command[command.index("-D") + 1]).resolve() == cluster


def stop_orphan(pid: int, cluster: Path) -> None:
    """Stops the server `pid` of `cluster`, as pg_ctl does it: SIGINT, a fast shutdown. Returns when it is gone."""
    try:
        os.kill(pid, signal.SIGINT)
    except PermissionError:
        raise EmbeddedPostgresError(
            f"PostgreSQL (process {pid}) of another account is running on {cluster}. Stop it as that account, or start "
            "Parley as before."
        ) from None
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _STOP_SECONDS
    while is_postgres_of(pid, cluster):
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"PostgreSQL (process {pid}) of an earlier Parley does not stop. Stop it by hand: kill -QUIT {pid}"
            )
        time.sleep(0.02)


def _command_line(pid: int) -> list[str]:
    """The arguments of a process; none if it is gone, or a zombie."""
    if (_PROC / "self").exists():
        try:
            raw = (_PROC / str(pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return []
        return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]
    listing = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    program, _, rest = listing.stdout.strip().partition(" -D ")
    return [program, "-D", rest.partition(" -c ")[0]] if rest else []
