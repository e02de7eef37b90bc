"""The keys with which a server signed before, as an operator writes them down."""

import argparse

import pytest

from config.settings_checks import SettingsError
from config.settings_sources import load_settings
from homeserver.domain.server_keys import ServerKey

KEY = "VGhpcyBzaG91bGQgYmUgeW91ciBvbGQga2V5J3MgZWQ"


def read(*lines: str) -> tuple[ServerKey, ...]:
    text = "federation:\n  old_signing_keys:\n" + "".join(f'    - "{line}"\n' for line in lines)
    return load_settings(argparse.Namespace(), {}, text, "parley.yaml").federation.old_signing_keys


def test_old_keys_are_read() -> None:
    """Name, public key, and since when it is not used."""
    first, second = read(f"ed25519:a_1 {KEY} 1532645052628", f"ed25519:b {KEY}= 1")
    assert (first.key_id, first.expired_ts, len(first.key)) == ("ed25519:a_1", 1532645052628, 32)
    assert (second.key_id, second.expired_ts, second.key) == ("ed25519:b", 1, first.key)


@pytest.mark.parametrize(
    "line",
    ["", KEY, f"ed25519:a {KEY}", f"ed25519:a {KEY} soon", f"curve25519:a {KEY} 1", "ed25519:a AAAA 1", f"a {KEY} 1"],
)
def test_what_is_no_old_key(line: str) -> None:
    """The complaint says what is expected."""
    with pytest.raises(SettingsError, match="ed25519:VERSION PUBLIC_KEY EXPIRED"):
        read(line)
