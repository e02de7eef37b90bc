"""How much a stranger may ask of a listener: the one table of its bounds in number, size and time.

Every number can be set; these are the values for a server on the open internet. Not here: the rate limits of users
(`clients.limits`), and the size of a body, which is each route's own (`homeserver.http.routing.Route.body_limit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of one listener. Sizes are bytes, times seconds."""

    max_connections: int = 12_000
    """Open connections. Above it newcomers are refused, unless an anonymous one can make room."""
    max_anonymous: int = 4_000
    """Connections on which nobody has authenticated yet, TLS handshakes included. Above it the oldest idle one goes."""
    max_per_address: int = 1_000
    """Open connections of one IPv4 address or one IPv6 /64. Users of one office often share an address."""
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
    """Reverse proxies: not held to `max_per_address`, and believed when they say `X-Forwarded-For`."""

    handshake_seconds: float = 15.0
    """From accepting a connection to the end of its TLS handshake."""
    head_seconds: float = 20.0
    """For a whole request head: from the connection's start, later from the first byte of the next head."""
    keepalive_seconds: float = 90.0
    """Idle time between two requests of one connection."""
    body_grace_seconds: float = 20.0
    """Time for a body before its rate counts."""
    body_bytes_per_second: int = 512
    """Rate that a body must keep on average, after the grace."""
    stall_seconds: float = 20.0
    """A client that takes no byte of its answer for so long is cut off."""
    linger_seconds: float = 2.0
    """How long the connection of a refused body stays, so that the client sees the answer before the reset."""
    linger_bytes: int = 256 * 1024
    """How much of that body is read and thrown away at most."""

    max_request_line: int = 16 * 1024
    """Method, path and query. Filters travel in queries."""
    max_header: int = 8 * 1024
    """One header, name and value."""
    max_headers: int = 100
    """Number of headers."""
    max_head: int = 48 * 1024
    """A whole head that arrives in pieces."""
    read_buffer: int = 32 * 1024
    """Bytes of a body that are buffered before anybody asks for them; the transport pauses at twice that."""
