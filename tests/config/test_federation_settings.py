"""The settings about other servers, and the federation that is assembled from them."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from config.compose.federation import build_federation
from config.settings import Settings
from config.settings_checks import SettingsError, check_files
from config.settings_sources import load_settings
from config.settings_values import LOOPBACK, Address
from config.system import SystemClock, SystemRandomness
from federation.names import Service
from homeserver.domain.errors import ParleyError, RemoteUnreachable
from homeserver.domain.signing import generate_key
from tests.builders.certificate import CertificateAuthority
from tests.builders.dns import dns_server
from tests.builders.house import TestHouse
from tests.builders.peer import running_peer

VERSION = "/_matrix/federation/v1/version"


def load(text: str, **flags: Any) -> Settings:
    return load_settings(argparse.Namespace(**flags), {}, text, "/etc/parley/parley.yaml")


def test_all_of_them() -> None:
    """As an operator writes them."""
    settings = load(
        """
network: {dns_servers: [10.0.0.53, "127.0.0.1:5353", "::1", "[::1]:54"]}
federation:
  enabled: yes
  allow_servers: [Example.org, "*.example.com", 10.0.0.1, "[::1]"]
  deny_servers: evil.example
  notaries: [notary.example, "notary.example:8449"]
  ca_file: ca.pem
"""
    )
    assert settings.network.dns_servers == (
        Address("10.0.0.53", 53),
        Address("127.0.0.1", 5353),
        Address("::1", 53),
        Address("::1", 54),
    )
    federation = settings.federation
    assert federation.allow_servers == ("example.org", "*.example.com", "10.0.0.1", "[::1]")
    assert federation.deny_servers == ("evil.example",)
    assert federation.notaries == ("notary.example", "notary.example:8449")
    assert federation.ca_file == Path("/etc/parley/ca.pem")


def test_the_defaults() -> None:
    """Everybody may be talked to, nobody is believed about the keys of others, and no private network is open."""
    settings = load("")
    assert settings.federation.enabled
    assert settings.federation.notaries == ()
    assert settings.network.allow_private == ()


def test_for_tests_opens_loopback() -> None:
    """And nothing else: servers of tests talk to each other on this machine."""
    assert load("", for_tests=True).network.allow_private == LOOPBACK


@pytest.mark.parametrize(
    "text",
    [
        "network: {dns_servers: [dns.example]}",
        "network: {dns_servers: ['10.0.0.53:0']}",
        "network: {dns_servers: ['10.0.0.53:x']}",
        "federation: {allow_servers: ['*']}",
        "federation: {allow_servers: ['a.*.example']}",
        "federation: {deny_servers: ['evil.example:8448']}",
        "federation: {notaries: ['*.example']}",
        "federation: {enabled: perhaps}",
        "federation: {allow: []}",
    ],
)
def test_what_they_do_not_take(text: str) -> None:
    """The key is named."""
    with pytest.raises(SettingsError, match=r"network|federation"):
        load(text)


def test_a_file_without_authorities(tmp_path: Path) -> None:
    """Told before the server starts."""
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "missing.pem"):
        (problem,) = check_files(load(f"federation: {{ca_file: {tmp_path / name}}}"))
        assert problem.key == "federation.ca_file"


async def test_what_is_assembled(house: TestHouse, tmp_path: Path) -> None:
    """A call goes through the DNS servers, the authorities and the networks of the settings."""
    authority = CertificateAuthority.make(tmp_path)
    key = generate_key(b"k" * 32, "a_1")
    async with dns_server() as server, running_peer(authority, "one.test") as peer:
        server.services["_matrix-fed._tcp.one.test"] = [Service(1, 1, peer.port, "host.test")]
        server.addresses["host.test"] = ["127.0.0.1"]
        text = f"network: {{dns_servers: '{server.address}'}}\nfederation: {{ca_file: {authority.ca_file}}}"
        for flags, reached in (({"for_tests": True}, True), ({}, False)):
            settings = load(text, **flags)
            federation = build_federation(
                settings, house.database, key, SystemClock(), SystemRandomness(), server.reactor
            )
            if reached:
                assert await federation.calls.get("one.test", VERSION) == {}
            else:
                with pytest.raises(RemoteUnreachable, match="not public"):
                    await federation.calls.get("one.test", VERSION)
            await federation.close()
        assert len(peer.asked) == 1


def test_authorities_that_went_away(house: TestHouse, tmp_path: Path) -> None:
    """A sentence, not a traceback."""
    settings = load(f"federation: {{ca_file: {tmp_path / 'missing.pem'}}}")
    with pytest.raises(ParleyError, match=r"missing\.pem is no list of authorities"):
        build_federation(settings, house.database, generate_key(b"k" * 32, "a_1"), SystemClock(), SystemRandomness())
