"""Every metric of Parley, each declared once, in a registry of its own.

Whoever measures imports the constant and calls `inc`, `set` or `observe`; children with labels are resolved once and
kept, so that an observation costs about a microsecond. Label values come from lists in the code (routes, followers),
never from what a client sends: the number of series is bounded. `docs/reference/metrics.md` explains each one.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REGISTRY = CollectorRegistry()

_FAST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)

# HTTP, as served
HTTP_REQUESTS = Counter(
    "parley_http_requests", "Requests answered, by route and class of status", ["route", "status"], registry=REGISTRY
)
HTTP_REQUEST_SECONDS = Histogram(
    "parley_http_request_seconds",
    "Time from the parsed head to the written answer, by route",
    ["route"],
    buckets=_FAST_SECONDS,
    registry=REGISTRY,
)
HTTP_REQUESTS_IN_FLIGHT = Gauge(
    "parley_http_requests_in_flight", "Requests being answered, long-polls included", registry=REGISTRY
)
HTTP_CONNECTIONS = Gauge("parley_http_connections", "Open connections, TLS handshakes included", registry=REGISTRY)
HTTP_CONNECTIONS_ANONYMOUS = Gauge(
    "parley_http_connections_anonymous",
    "Open connections on which nobody has authenticated yet",
    registry=REGISTRY,
)
HTTP_CONNECTIONS_REFUSED = Counter(
    "parley_http_connections_refused",
    "Connections closed by a limit, by the limit (total, address, anonymous, descriptors, handshake, head, stalled)",
    ["limit"],
    registry=REGISTRY,
)
UNFORESEEN_ERRORS = Counter(
    "parley_unforeseen_errors",
    "Exceptions that nobody expected, by where they were caught",
    ["where"],
    registry=REGISTRY,
)

# storage
WRITE_TRANSACTIONS = Counter(
    "parley_write_transactions",
    "Write transactions, by outcome (committed, retried, failed)",
    ["outcome"],
    registry=REGISTRY,
)
WRITE_SECONDS = Histogram(
    "parley_write_seconds", "Time of a write, waiting for its turn included", buckets=_FAST_SECONDS, registry=REGISTRY
)
READ_TRANSACTIONS = Counter("parley_read_transactions", "Read snapshots taken", registry=REGISTRY)
STATEMENTS = Counter("parley_statements", "Statements sent to the database", registry=REGISTRY)

# streams
WATERMARK_LAG = Gauge(
    "parley_watermark_lag", "Positions handed out that the watermark has not passed yet", registry=REGISTRY
)
TAIL_PUBLICATIONS = Gauge("parley_tail_publications", "Publications kept in memory", registry=REGISTRY)
TAIL_BYTES = Gauge("parley_tail_bytes", "Bytes of the publications kept in memory", registry=REGISTRY)
FOLLOWER_LAG = Gauge(
    "parley_follower_lag", "Positions between the watermark and a follower's cursor", ["follower"], registry=REGISTRY
)

# sync
VIEWS = Gauge("parley_views", "Live views of syncing devices", registry=REGISTRY)
VIEW_BYTES = Gauge("parley_view_bytes", "Estimated bytes of the live views", registry=REGISTRY)
WAITING_SYNCS = Gauge("parley_waiting_syncs", "Syncs that wait for something new", registry=REGISTRY)

# accounts
PASSWORD_QUEUE = Gauge("parley_password_queue", "Password hashes being computed or waiting", registry=REGISTRY)

ProcessCollector(registry=REGISTRY)


class RouteMetrics:
    """What one route has served. Holds its children, so that observing looks nothing up."""

    __slots__ = ("_by_class", "_observe", "_route")

    def __init__(self, route: str) -> None:
        self._route = route
        self._by_class: dict[int, Callable[[], None]] = {}
        self._observe = HTTP_REQUEST_SECONDS.labels(route).observe

    def observe(self, status: int, seconds: float) -> None:
        hundreds = status // 100
        count = self._by_class.get(hundreds)
        if count is None:
            count = self._by_class[hundreds] = HTTP_REQUESTS.labels(self._route, f"{hundreds}xx").inc
        count()
        self._observe(seconds)


def render() -> bytes:
    """All metrics in the text format that Prometheus scrapes."""
    return generate_latest(REGISTRY)
