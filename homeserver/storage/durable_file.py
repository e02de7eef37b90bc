"""A small file that is there after a power cut, whole: either its old content or its new one.

For the few facts that must not live in the database (who owns a data directory, the signing key, the epoch of sync
tokens). Not for anything that is written often: each call waits for the disk twice.
"""

import os
from pathlib import Path


def write_durably(path: Path, text: str, mode: int = 0o600) -> None:
    """Replaces the content of `path`; returns once file and name are on the disk. Its folder must exist."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)  # the mode of os.open is subject to the umask, and not applied to a leftover
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Waits until the names in `folder` are on the disk (fsync of a file does not promise that of its name)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
