"""The key with which this server signs its events and requests: `signing.key` in the data directory.

One line, `ed25519 VERSION SEED`, as signedjson and other servers write it. Whoever has it speaks in the server's name,
and without it other servers no longer know us: it is made once, kept for its owner alone, and never overwritten.
https://spec.matrix.org/v1.19/appendices/#signing-details
"""

import io
import logging
import secrets
import stat
import string
from pathlib import Path

from signedjson.key import generate_signing_key, read_signing_keys, write_signing_keys
from signedjson.types import SigningKey

from homeserver.domain.errors import ParleyError
from homeserver.domain.identifiers import is_key_id
from homeserver.storage.durable_file import write_durably

logger = logging.getLogger(__name__)

FILE_NAME = "signing.key"


class SigningKeyError(ParleyError):
    """The file with the signing key cannot be used; the message says what to do."""


def read_or_make_signing_key(directory: Path) -> SigningKey:
    """The key in `directory`, made at the first start; it knows its `alg` and `version`."""
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _make(path)
    except UnicodeDecodeError:
        text = "not a text"
    except OSError as error:
        raise SigningKeyError(f"The signing key {path} cannot be read: {error.strerror}.") from error
    try:
        keys = read_signing_keys(text.splitlines(keepends=True))
    except (ValueError, KeyError, IndexError):
        keys = []
    if len(keys) != 1 or not is_key_id(f"{keys[0].alg}:{keys[0].version}"):
        what = "is empty" if not text.strip() else "does not hold exactly one line `ed25519 VERSION SEED`"
        raise SigningKeyError(
            f"The signing key {path} {what}. Restore it from a backup. Only if this server has never talked to others: "
            "remove the file, and a new key is made."
        )
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning("others may read the signing key: chmod 600 %s", path)
    return keys[0]


def _make(path: Path) -> SigningKey:
    # A name of its own for each key: a name that once stood for another key would be refused by other servers.
    version = "a_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(6))
    key = generate_signing_key(version)
    text = io.StringIO()
    write_signing_keys(text, [key])
    write_durably(path, text.getvalue())
    return key
