"""The data directory: made for its owner alone, with the few facts that must not live in the database.

    position.json        the epoch of sync tokens and the highest position ever reserved
    registration.secret  the shared secret of `parley register-user`, unless the settings give one
    signing.key          config/signing_key.py
    postgresql/ ...      homeserver/storage/embedded.py

The positions of sync tokens come from the database. After a restore from a backup the database lies behind what clients
were already told; this file does not, so the difference shows and a new epoch is begun.
"""

import json
import logging
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from homeserver.domain.errors import BrokenInvariant, ParleyError
from homeserver.storage.durable_file import write_durably

logger = logging.getLogger(__name__)


class DataDirectoryError(ParleyError):
    """The data directory, or a file in it, cannot be used; the message says what to do."""


def prepare(directory: Path) -> None:
    """Makes the directory, if it is not there, with mode 0700; raises DataDirectoryError if it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirectoryError(
            f"The data directory {directory} cannot be made: {error.strerror}. Choose another (data_directory, "
            "--data), or make it and give it to the account that runs Parley."
        ) from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirectoryError(
            f"Parley may not write to the data directory {directory}. Give it to the account that runs Parley, or "
            "choose another (data_directory, --data)."
        )


def find_registration_secret(directory: Path) -> str | None:
    """The shared secret in `registration.secret`; None if there is no such file."""
    path = directory / "registration.secret"
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataDirectoryError(f"{path} cannot be read by this account: {error}") from error
    if not secret:
        raise DataDirectoryError(f"{path} is empty. Remove it, and the next start of Parley makes a new one.")
    return secret


def registration_secret(directory: Path) -> str:
    """The same for the server, which makes the file if it is not there."""
    secret = find_registration_secret(directory)
    if secret is None:
        secret = secrets.token_urlsafe(32)
        write_durably(directory / "registration.secret", secret + "\n")
    return secret


@dataclass(frozen=True, slots=True)
class PositionRecord:
    """`epoch` is the first part of every sync token. No position above `reserved` was ever given out."""

    epoch: str
    reserved: int


class PositionFile:
    """`position.json`. Each change is on the disk when the call returns. Blocking; thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "position.json"
        self._lock = threading.Lock()

    def read(self) -> PositionRecord | None:
        """What the file says; None if it is missing or damaged, so that a new epoch is due."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            content = None
        match content:
            case {"epoch": str(epoch), "reserved": int(reserved)} if epoch and reserved >= 0:
                return PositionRecord(epoch, reserved)
        logger.error("%s is damaged", self._path)
        return None

    def reserve(self, up_to: int) -> None:
        """Positions up to `up_to` may be given out. Never goes back."""
        with self._lock:
            record = self.read()
            if record is None:
                raise BrokenInvariant("positions are reserved before there is an epoch")
            if up_to > record.reserved:
                self._write(PositionRecord(record.epoch, up_to))

    def new_epoch(self, reason: str) -> PositionRecord:
        """Begins a new epoch, in which nothing is reserved yet: every client starts from the whole state again."""
        with self._lock:
            record = PositionRecord(secrets.token_hex(4), 0)
            self._write(record)
        logger.warning("sync tokens begin a new epoch, %s: %s", record.epoch, reason)
        return record

    def _write(self, record: PositionRecord) -> None:
        write_durably(self._path, json.dumps({"epoch": record.epoch, "reserved": record.reserved}) + "\n")
