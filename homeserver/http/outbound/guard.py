"""Which addresses Parley may connect to when a stranger tells it where.

A server name, a redirect or a link can point into the operator's own network: to this machine, to a router, to the
metadata service of a cloud. So only public unicast addresses are allowed, and what the operator's settings add. The
question is asked of the very address that a socket is about to connect to (`client`), so that it does not matter who
resolved the name, or what the name resolved to a moment earlier.

The tables are those of IANA's special-purpose registries: what is not globally reachable is refused. Of IPv6 only
2000::/3 is public at all, which leaves out loopback, link-local, unique local and multicast addresses.
https://www.iana.org/assignments/iana-ipv4-special-registry/
https://www.iana.org/assignments/iana-ipv6-special-registry/
"""

import logging
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from homeserver.telemetry.metrics import OUTBOUND_ADDRESSES_REFUSED

log = logging.getLogger(__name__)

_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host; Linux connects it to loopback
            "10.0.0.0/8",
            "100.64.0.0/10",  # between a provider and its customers (CGNAT)
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata services of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4: an IPv4 address in disguise
            "3fff::/20",
            "5f00::/16",
        ),
    )
)
# The last 32 bits are the IPv4 address that is reached in the end.
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class RefusedAddress(OSError):
    """No connection may go there."""


class AddressGuard:
    """`allowed` are networks that may be reached although they are not public."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def check(self, address: str) -> None:
        """Raises RefusedAddress unless a connection may go to this IP address."""
        if not self.allows(address):
            OUTBOUND_ADDRESSES_REFUSED.inc()
            log.info("No connection goes to %s: not a public address, and not in network.allow_private", address)
            # The same words for every address: several at once are told as one.
            raise RefusedAddress("it is at an address that is not public")

    def allows(self, address: str) -> bool:
        """Whether `check` would let it pass. What is no IP address is not allowed."""
        try:
            number = ip_address(address)
        except ValueError:
            return False
        if isinstance(number, IPv6Address):
            # The kernel makes an IPv4 connection of it, so it is judged as one.
            if number.ipv4_mapped is not None:
                return self._is_open(number.ipv4_mapped)
            if number in _NAT64 and not self._is_open(IPv4Address(int(number) & 0xFFFFFFFF)):
                return False
        return self._is_open(number)

    def _is_open(self, number: Address) -> bool:
        return _is_public(number) or any(number in network for network in self._allowed)


def _is_public(number: Address) -> bool:
    if isinstance(number, IPv4Address):
        return not any(number in network for network in _SPECIAL_IPV4)
    return number in _PUBLIC_IPV6 and not any(number in network for network in _SPECIAL_IPV6)
