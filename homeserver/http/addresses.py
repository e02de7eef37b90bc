"""Whose connection it is: the address that limits count, and the client behind a reverse proxy.

https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = Sequence[IPv4Network | IPv6Network]


def counted_address(address: str) -> str:
    """The key under which connections are counted: an IPv4 address, or the /64 that one IPv6 customer has."""
    if ":" not in address:
        return address
    number = _parse(address)
    if number is None or number.version == 4:
        return address
    return str(IPv6Network((int(number) >> 64 << 64, 64)))


def is_in(address: str, networks: Networks) -> bool:
    number = _parse(address)
    return number is not None and any(number in network for network in networks)


def forwarded_for(peer: str, forwarded: Iterable[str], proxies: Networks) -> str:
    """The client of a request that came from the proxy `peer` with these X-Forwarded-For headers.

    Each proxy appends the address that it saw, so the list is read from its end: the first address that is not one of
    our proxies is the client. What stands before it was written by the client and proves nothing.
    """
    client = peer
    for entry in reversed(",".join(forwarded).split(",")):
        if not is_in(client, proxies):
            break
        number = _parse(entry.strip())
        if number is None:
            break
        client = str(number)
    return client


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        number = ip_address(address)
    except ValueError:
        return None
    if isinstance(number, IPv6Address) and number.ipv4_mapped is not None:
        return number.ipv4_mapped
    return number
