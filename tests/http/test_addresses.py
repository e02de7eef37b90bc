"""Whose connection it is."""

from ipaddress import ip_network

import pytest

from homeserver.http.addresses import counted_address, forwarded_for, is_in

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_customer_is_a_network(address: str, counted: str) -> None:
    """Whoever has a /64 has more addresses than we could count."""
    assert counted_address(address) == counted


def test_mapped_addresses_are_found_in_ipv4_networks() -> None:
    """Sockets that speak both write IPv4 addresses as IPv6."""
    assert is_in("::ffff:10.1.2.3", PROXIES)
    assert not is_in("192.0.2.1", PROXIES)
    assert not is_in("nonsense", PROXIES)


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["nonsense, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [" 2001:db8::1 "], "2001:db8::1"),
        ("192.0.2.9", ["192.0.2.1"], "192.0.2.9"),
    ],
)
def test_forwarded_addresses_are_believed_from_the_end(peer: str, headers: list[str], client: str) -> None:
    """Only what our own proxies have appended counts; what a client writes in front of it proves nothing."""
    assert forwarded_for(peer, headers, PROXIES) == client
