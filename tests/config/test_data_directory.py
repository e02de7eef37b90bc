"""The data directory: its files are for us alone, on the disk when we say so, and never guessed when damaged."""

import os
import threading
from pathlib import Path

import pytest

from config.data_directory import (
    DataDirectoryError,
    PositionFile,
    PositionRecord,
    find_registration_secret,
    prepare,
    registration_secret,
)
from homeserver.domain.errors import BrokenInvariant


def test_directory_is_made_for_its_owner(tmp_path: Path) -> None:
    """It is made with those above it, closed to others; one that is there keeps its mode."""
    directory = tmp_path / "a" / "b"
    prepare(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o750)
    prepare(directory)
    assert directory.stat().st_mode & 0o777 == 0o750


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """The complaint names the directory and the way out."""
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=r"/file/data cannot be made: Not a directory.*--data"):
        prepare(tmp_path / "file" / "data")


def test_positions_are_remembered(tmp_path: Path) -> None:
    """Epoch and high-water mark outlive us; the mark never goes back."""
    file = PositionFile(tmp_path)
    assert file.read() is None
    record = file.new_epoch("first start")
    assert record == PositionRecord(record.epoch, 0)
    file.reserve(20_000)
    file.reserve(10_000)
    assert PositionFile(tmp_path).read() == PositionRecord(record.epoch, 20_000)
    assert (tmp_path / "position.json").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["position.json"]


def test_new_epoch_forgets_the_old_positions(tmp_path: Path) -> None:
    """After a restore the positions begin below the old mark, under another name; the name fits into a sync token."""
    file = PositionFile(tmp_path)
    first = file.new_epoch("first start")
    file.reserve(50_000)
    second = file.new_epoch("the database lies below the reserved position")
    assert second.epoch != first.epoch
    assert second.epoch.isalnum()
    assert file.read() == PositionRecord(second.epoch, 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"epoch": "a"}', b'{"epoch": "", "reserved": 1}', b'{"epoch": "a", "reserved": -1}'],
)
def test_damaged_positions_are_none(tmp_path: Path, content: bytes) -> None:
    """A file that says nothing certain counts as missing, so that a new epoch is begun."""
    (tmp_path / "position.json").write_bytes(content)
    assert PositionFile(tmp_path).read() is None


def test_reserving_without_epoch_is_our_fault(tmp_path: Path) -> None:
    """Positions mean nothing without an epoch."""
    with pytest.raises(BrokenInvariant):
        PositionFile(tmp_path).reserve(1)


def test_reserving_from_many_threads(tmp_path: Path) -> None:
    """The highest mark wins, whoever comes last."""
    file = PositionFile(tmp_path)
    epoch = file.new_epoch("first start").epoch
    threads = [threading.Thread(target=file.reserve, args=(mark,)) for mark in (3, 1, 8, 5, 2, 7, 4, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read() == PositionRecord(epoch, 8)


def test_registration_secret(tmp_path: Path) -> None:
    """It is made once by the server, long and for its owner alone; an empty file is refused."""
    assert find_registration_secret(tmp_path) is None
    secret = registration_secret(tmp_path)
    assert len(secret) > 40
    assert registration_secret(tmp_path) == find_registration_secret(tmp_path) == secret
    path = tmp_path / "registration.secret"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("\n")
    with pytest.raises(DataDirectoryError, match="is empty"):
        registration_secret(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataDirectoryError, match="cannot be read"):
        registration_secret(tmp_path)
