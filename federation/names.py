"""Where a server is reached: the discovery of the spec, as a little machine that looks nothing up.

    step = discover("example.org")
    while not isinstance(step, Whereabouts):
        step = step.answered(<what the look-up brought>)

Each step is either the answer, or names the look-up that it needs next. The six steps of the spec:

    1  an IP literal              -> there, port as given or 8448
    2  a name with a port         -> the name's addresses, that port
    3  /.well-known/matrix/server -> the delegated name, which goes through the same again, without a well-known
    4  SRV _matrix-fed._tcp       -> the hosts and ports of its records
    5  SRV _matrix._tcp           -> the same, deprecated
    6  the name's addresses, port 8448

Certificate, SNI and Host header are always those of the name (the delegated one, if there is one), never of an SRV
record's target: DNS is not to be trusted. Pure: who looks up, and what is remembered, is in `lookups`.
https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from homeserver.domain.identifiers import is_server_name

DEFAULT_PORT = 8448
# RFC 2782 has no bound; nobody waits for more attempts than these.
MAX_RECORDS = 8
_MAX_LABEL, _MAX_HOST = 63, 253


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record. `host` is without the dot at its end; empty: "the service is decidedly not available"."""

    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where to connect, and in whose name.

    `places` are hosts (names or IP addresses without brackets) with ports, in the order in which they are tried; none
    if the server says that it cannot be reached. `certificate_name` is what the certificate must be valid for: a host
    name or an IP address. `host_header` is the name as it stands in the Host header.
    """

    places: tuple[tuple[str, int], ...]
    certificate_name: str
    host_header: str


@dataclass(frozen=True, slots=True)
class WellKnownNeeded:
    """Asks for the `m.server` of https://`host`/.well-known/matrix/server."""

    host: str

    def answered(self, delegated: str | None) -> "Step":
        """None for every answer that is not valid: "If the response is invalid, skip to step 4"."""
        if delegated is None or not is_server_name(delegated):
            return _by_services(self.host)
        return _directly(delegated) or _by_services(delegated)


@dataclass(frozen=True, slots=True)
class ServicesNeeded:
    """Asks for the SRV records of `name`. `fallback`: the step that follows if there are none."""

    name: str
    host: str
    fallback: "Step"

    def answered(self, records: Sequence[Service]) -> "Step":
        """`records` in the order in which they are to be tried (`in_order`)."""
        if not records:
            return self.fallback
        places = tuple((record.host, record.port) for record in records[:MAX_RECORDS] if is_host(record.host))
        return Whereabouts(places, self.host, self.host)


Step = Whereabouts | WellKnownNeeded | ServicesNeeded


def discover(server_name: str) -> Step:
    """The first step for a server name (`is_server_name`)."""
    return _directly(server_name) or WellKnownNeeded(server_name)


def _directly(name: str) -> Whereabouts | None:
    """Steps 1 and 2, and 3.1 and 3.2: what needs no more than addresses."""
    host, port = split_name(name)
    if port is None and not _is_literal(host):
        return None
    address = host.strip("[]")
    return Whereabouts(((address, DEFAULT_PORT if port is None else port),), address, name)


def _by_services(host: str) -> Step:
    """Steps 4 to 6, and 3.3 to 3.5."""
    by_address = Whereabouts(((host, DEFAULT_PORT),), host, host)
    return ServicesNeeded(f"_matrix-fed._tcp.{host}", host, ServicesNeeded(f"_matrix._tcp.{host}", host, by_address))


def split_name(server_name: str) -> tuple[str, int | None]:
    """The host of a server name (an IPv6 address keeps its brackets), and its port if it has one."""
    host, colon, port = server_name.rpartition(":")
    if not colon or server_name.endswith("]"):
        return server_name, None
    return host, int(port)


def _is_literal(host: str) -> bool:
    if host.startswith("["):
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def is_host(name: str) -> bool:
    """Whether DNS can hold such a name: labels of 1 to 63 characters, 253 in all."""
    return name.isascii() and len(name) <= _MAX_HOST and all(0 < len(label) <= _MAX_LABEL for label in name.split("."))


def in_order(records: Sequence[Service], draw: Callable[[int], int]) -> list[Service]:
    """The records in the order in which RFC 2782 tries them: by priority, those of one priority drawn by weight.

    `draw(n)` gives a number from 0 to n, both included.
    """
    ordered: list[Service] = []
    for priority in sorted({record.priority for record in records}):
        # "All those with weight 0 are placed at the beginning": so they are drawn rarely.
        left = sorted((record for record in records if record.priority == priority), key=lambda record: record.weight)
        while left:
            number = draw(sum(record.weight for record in left))
            for record in left:
                number -= record.weight
                if number <= 0:
                    break
            left.remove(record)
            ordered.append(record)
    return ordered
