"""Which addresses may be connected to."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.http.outbound.guard import AddressGuard, RefusedAddress

INTERNAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2a00:1450::1", "2606:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_refused(address: str) -> None:
    """Each kind of the registries, and each disguise of an IPv4 address."""
    with pytest.raises(RefusedAddress):
        AddressGuard().check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    """Also those just beside a reserved network."""
    AddressGuard().check(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.1", "2130706433", "127.0.0.1 ", "1.1.1.1:80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """No other reading of it can be meant."""
    assert not AddressGuard().allows(text)


def test_what_the_operator_allows() -> None:
    """Only that, in all its disguises that the kernel connects to the same place."""
    guard = AddressGuard([ip_network("10.1.0.0/16"), ip_network("fd00::/8"), ip_network("64:ff9b::/96")])
    allowed = ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "64:ff9b::808:808", "64:ff9b::a01:203"]
    refused = ["10.2.0.1", "::ffff:10.2.0.1", "fc00::1", "64:ff9b::a02:1", "64:ff9b::7f00:1", "127.0.0.1"]
    assert [guard.allows(address) for address in allowed] == [True] * len(allowed)
    assert [guard.allows(address) for address in refused] == [False] * len(refused)


@given(st.ip_addresses())
def test_agrees_with_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    """What it calls private, we never call public."""
    if (address.is_private or address.is_multicast) and getattr(address, "ipv4_mapped", None) is None:
        assert not AddressGuard().allows(str(address))
