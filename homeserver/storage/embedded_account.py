"""The account of the operating system that runs our own PostgreSQL.

PostgreSQL refuses to run as root. An ordinary user runs it as itself. For root the account is, in this order: the one
that `database.user_account` names; the owner of a database that is already there; the owner of the data directory, if
that is not root; `parley`, if the machine has such an account; `nobody`. No account is made and no folder outside the
data directory is opened for it: if it cannot enter, we say so and what to do.
"""

import grp
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from homeserver.domain.errors import ParleyError

_FALLBACKS = ("parley", "nobody")


class EmbeddedPostgresError(ParleyError):
    """Our own PostgreSQL cannot run; the message says why, and what the operator can do."""


class Identity(TypedDict, total=False):
    """The arguments with which subprocess starts a process as somebody else; empty: as ourselves."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs PostgreSQL. `switch`: we are root and become this account."""

    name: str
    uid: int
    gid: int
    switch: bool

    @property
    def identity(self) -> Identity:
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def choose_account(wanted: str | None, data_directory: Path, cluster: Path) -> Account:
    """The account for the database `cluster` in `data_directory`, by the order above."""
    if os.geteuid() != 0:
        own = _account(os.geteuid(), switch=False)
        if wanted is not None and wanted != own.name:
            raise EmbeddedPostgresError(
                f"database.user_account is {wanted!r}, but Parley runs as {own.name!r}, and only root can start "
                f"processes of another account. Run Parley as {wanted!r}, or leave database.user_account out."
            )
        return own
    if wanted is not None:
        try:
            entry = pwd.getpwnam(wanted)
        except KeyError:
            raise EmbeddedPostgresError(
                f"database.user_account is {wanted!r}, and this machine has no such account."
            ) from None
        if entry.pw_uid == 0:
            raise EmbeddedPostgresError(
                f"database.user_account is {wanted!r}, which is root: PostgreSQL refuses to run as root."
            )
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)
    for place in (cluster, data_directory):
        if place.exists() and (owner := place.stat().st_uid) != 0:
            return _account(owner, switch=True)
    for name in _FALLBACKS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedPostgresError(
        "Parley runs as root, PostgreSQL refuses to, and this machine has neither an account `parley` nor `nobody`. "
        "Run Parley as an ordinary user, or name an account in database.user_account."
    )


def _account(uid: int, switch: bool) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedPostgresError(
            f"The user id {uid} has no name on this machine (no line in /etc/passwd), and PostgreSQL asks for one. "
            "Add an account with this id, run Parley as another one, or use a database of your own (database.url)."
        ) from None
    return Account(entry.pw_name, uid, entry.pw_gid, switch)


def check_reach(account: Account, data_directory: Path, binaries: Path) -> None:
    """Raises unless `account` can run the programs in `binaries` and reach `data_directory`. The kernel is asked,
    since modes alone do not tell (access control lists); they are read only to explain a refusal."""
    command: list[str | Path] = [binaries / "pg_ctl", "status", "-D", data_directory]
    try:
        result = subprocess.run(command, **account.identity, env={"LC_ALL": "C"}, capture_output=True, text=True)
    except PermissionError:
        raise EmbeddedPostgresError(
            f"{_refusal(account, binaries)}, where the programs of PostgreSQL are. Install Parley in a place that "
            "everybody may enter (such as /opt/parley), run it as an ordinary user, or use a database of your own "
            "(database.url)."
        ) from None
    if "Permission denied" in result.stderr:
        raise EmbeddedPostgresError(
            f"{_refusal(account, data_directory)}, where the data directory is, and PostgreSQL refuses to run as root. "
            "Choose a data directory in a place that everybody may pass (such as /var/lib/parley), run Parley as an "
            "ordinary user, name another account in database.user_account, or use a database of your own "
            "(database.url)."
        )


def _refusal(account: Account, place: Path) -> str:
    groups = {account.gid}
    for folder in [*reversed(place.parents), place]:
        status = folder.stat()
        if status.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif status.st_gid in groups:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            mode = stat.S_IMODE(status.st_mode)
            owner = f"{_name_of_user(status.st_uid)}:{_name_of_group(status.st_gid)}"
            return f"The account {account.name!r} may not enter {folder} ({owner}, mode {mode:04o})"
    return f"The account {account.name!r} may not enter {place}"


def _name_of_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _name_of_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
