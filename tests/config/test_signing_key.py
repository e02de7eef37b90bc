"""The signing key: made once, kept, and refused rather than replaced when it is damaged."""

from pathlib import Path

import pytest
from signedjson.key import get_verify_key
from signedjson.sign import sign_json, verify_signed_json

from config.signing_key import SigningKeyError, read_or_make_signing_key

KEY = "ed25519 a_1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"  # the seed of the spec's test vectors


def test_made_once(tmp_path: Path) -> None:
    """The first start makes a key for its owner alone; every later one has the same, under the same name."""
    first = read_or_make_signing_key(tmp_path)
    path = tmp_path / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith(f"ed25519 {first.version} ")
    second = read_or_make_signing_key(tmp_path)
    assert (second.alg, second.version, second.encode()) == (first.alg, first.version, first.encode())
    signed = sign_json({"a": 1}, "example.org", second)
    verify_signed_json(signed, "example.org", get_verify_key(first))


def test_names_differ(tmp_path: Path) -> None:
    """Two keys never share a name: other servers remember the first under it."""
    versions = set()
    for number in range(20):
        (tmp_path / str(number)).mkdir()
        versions.add(read_or_make_signing_key(tmp_path / str(number)).version)
    assert len(versions) == 20


def test_a_key_from_elsewhere(tmp_path: Path) -> None:
    """The format is the one of other servers, so a key can be brought along."""
    (tmp_path / "signing.key").write_text(KEY + "\n")
    assert read_or_make_signing_key(tmp_path).version == "a_1"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff\xfe", "does not hold exactly one line"),
        (b"ed25519 a_1", "does not hold exactly one line"),
        (b"ed25519 a_1 YJDBA9Xn", "does not hold exactly one line"),
        (b"rsa a_1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1", "does not hold exactly one line"),
        (b"ed25519 a-1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1", "does not hold exactly one line"),
        (f"{KEY}\n{KEY}\n".encode(), "does not hold exactly one line"),
    ],
)
def test_damaged_key_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """It says what is wrong and what to do, and leaves the file as it is."""
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    with pytest.raises(SigningKeyError, match=why) as caught:
        read_or_make_signing_key(tmp_path)
    assert "Restore it from a backup" in str(caught.value)
    assert path.read_bytes() == content


def test_key_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in its place is an error in a sentence."""
    (tmp_path / "signing.key").mkdir()
    with pytest.raises(SigningKeyError, match="cannot be read: Is a directory"):
        read_or_make_signing_key(tmp_path)


def test_open_key_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that others may read still serves, with a warning."""
    path = tmp_path / "signing.key"
    path.write_text(KEY)
    path.chmod(0o644)
    read_or_make_signing_key(tmp_path)
    assert "chmod 600" in caplog.text
