"""Every metric of Parley, each declared once, in a registry of its own.

Whoever measures imports the constant and calls `inc`, `set` or `observe`; children with labels are resolved once and
kept, so that an observation costs about a microsecond. Label values come from lists in the code (routes, followers),
never from what a client sends: the number of series is bounded. `docs/reference/metrics.md` explains each one.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from homeserver.telemetry.tallies import Tallies, Tally, Timings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REGISTRY = CollectorRegistry()

_FAST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)

# HTTP, as served
HTTP_REQUESTS = Tallies(
    "parley_http_requests", "Requests answered, by route and class of status", ["route", "status"], REGISTRY
)
HTTP_REQUEST_SECONDS = Timings(
    "parley_http_request_seconds",
    "Time from the parsed head to the written answer, by route",
    "route",
    _FAST_SECONDS,
    REGISTRY,
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
LIMITED = Counter(
    "parley_limited",
    "Requests refused because there were too many, by the limit's name",
    ["limit"],
    registry=REGISTRY,
)
UNFORESEEN_ERRORS = Counter(
    "parley_unforeseen_errors",
    "Exceptions that nobody expected, by where they were caught",
    ["where"],
    registry=REGISTRY,
)

# outbound
OUTBOUND_REQUESTS = Counter(
    "parley_outbound_requests",
    "Requests to other servers, by purpose and outcome (class of status, not connected, timeout, too large, broken, "
    "cancelled)",
    ["caller", "outcome"],
    registry=REGISTRY,
)
OUTBOUND_SECONDS = Histogram(
    "parley_outbound_seconds",
    "Time of a request to another server, connecting included, by purpose",
    ["caller"],
    buckets=_FAST_SECONDS,
    registry=REGISTRY,
)
OUTBOUND_ADDRESSES_REFUSED = Counter(
    "parley_outbound_addresses_refused",
    "Connections that were not made because the address is not public",
    registry=REGISTRY,
)
DESTINATIONS_DOWN = Gauge(
    "parley_destinations_down", "Servers that did not answer and are left alone for a while", registry=REGISTRY
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
DATABASE_WAITING = Gauge(
    "parley_database_waiting",
    "Reads and writes that no thread has taken yet, those that wait for a room included, by pool",
    ["pool"],
    registry=REGISTRY,
)
DATABASE_REFUSED = Counter(
    "parley_database_refused",
    "Reads and writes refused because too many waited already, by pool",
    ["pool"],
    registry=REGISTRY,
)

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
MEMBER_LIST_BYTES = Gauge("parley_member_list_bytes", "Bytes of member lists that are kept", registry=REGISTRY)
WAITING_SYNCS = Gauge("parley_waiting_syncs", "Syncs that wait for something new", registry=REGISTRY)
PRESENCE_PEOPLE = Gauge("parley_presence_people", "People whose presence is kept", registry=REGISTRY)

# WebSockets
WEBSOCKETS = Gauge("parley_websockets", "Open WebSockets", registry=REGISTRY)
WEBSOCKET_FRAMES = Tallies(
    "parley_websocket_frames", "Text messages over WebSockets, by direction (in, out)", ["direction"], REGISTRY
)
WEBSOCKET_WAITING_BYTES = Gauge(
    "parley_websocket_waiting_bytes", "Bytes that wait until clients take them", registry=REGISTRY
)
WEBSOCKETS_STALLED = Gauge(
    "parley_websockets_stalled", "WebSockets whose client does not take what waits for it", registry=REGISTRY
)
WEBSOCKETS_CLOSED = Counter(
    "parley_websockets_closed",
    "WebSockets closed, by reason (client, lost, shutdown, malformed, too_large, unauthenticated, forbidden, stalled, "
    "silent, superseded)",
    ["reason"],
    registry=REGISTRY,
)

# search
SEARCH_EVENTS = Gauge("parley_search_events", "Events that search can find, roughly", registry=REGISTRY)
SEARCH_BYTES_PER_EVENT = Gauge(
    "parley_search_bytes_per_event",
    "Bytes of the index of search, its table included, for each event that it can find",
    registry=REGISTRY,
)

# accounts
PASSWORD_QUEUE = Gauge("parley_password_queue", "Password hashes being computed or waiting", registry=REGISTRY)

# federation, as we are asked
FEDERATION_REFUSED = Counter(
    "parley_federation_refused",
    "Requests of other servers that were not let in, by reason (header, destination, denied, key, signature, flood)",
    ["reason"],
    registry=REGISTRY,
)
TRANSACTIONS_RECEIVED = Counter(
    "parley_transactions_received", "Transactions of other servers that were let in", registry=REGISTRY
)
PDUS_RECEIVED = Counter(
    "parley_pdus_received",
    "PDUs of transactions, by what became of them (accepted, soft_failed, rejected, known, waiting, refused)",
    ["outcome"],
    registry=REGISTRY,
)
EDUS_RECEIVED = Counter(
    "parley_edus_received",
    "EDUs of transactions, by type and by what became of them (taken, dropped)",
    ["type", "outcome"],
    registry=REGISTRY,
)
FEDERATION_GAPS = Counter(
    "parley_federation_gaps",
    "Events that other servers were asked for (missing_events, history), and states (state)",
    ["fetched"],
    registry=REGISTRY,
)
STAGED_ROOMS = Gauge(
    "parley_staged_rooms", "Rooms with received events that wait for what they follow", registry=REGISTRY
)
PDUS_CHECKED = Counter(
    "parley_pdus_checked",
    "PDUs received, by what their checks said (good, redacted, format, signature)",
    ["outcome"],
    registry=REGISTRY,
)
SERVER_KEY_LOOKUPS = Counter(
    "parley_server_key_lookups",
    "Other servers asked for keys, by source (server, notary) and outcome (answered, refused, unreachable)",
    ["source", "outcome"],
    registry=REGISTRY,
)

# federation, as we tell others
DESTINATIONS_BEHIND = Gauge(
    "parley_destinations_behind",
    "Servers that have not taken everything that they should have, and are told the rest from the tables",
    registry=REGISTRY,
)
PDUS_WAITING = Gauge(
    "parley_pdus_waiting", "Events in memory that wait until servers take them, counted per server", registry=REGISTRY
)
TRANSACTIONS_SENT = Counter(
    "parley_transactions_sent",
    "Transactions sent to other servers, by what came of them (taken, refused, broken, away)",
    ["outcome"],
    registry=REGISTRY,
)
PDUS_SENT = Counter(
    "parley_pdus_sent",
    "Events sent to other servers, counted per server, by what came of them (taken, error, set_aside)",
    ["outcome"],
    registry=REGISTRY,
)
EDUS_SENT = Counter(
    "parley_edus_sent", "Receipts, typing and presence that other servers took, by type", ["type"], registry=REGISTRY
)

ProcessCollector(registry=REGISTRY)


class RouteMetrics:
    """What one route has served. Holds its children, so that observing looks nothing up."""

    __slots__ = ("_by_class", "_observe", "_route")

    def __init__(self, route: str) -> None:
        self._route = route
        self._by_class: dict[int, Tally] = {}
        self._observe = HTTP_REQUEST_SECONDS.labels(route).observe

    def observe(self, status: int, seconds: float) -> None:
        hundreds = status // 100
        count = self._by_class.get(hundreds)
        if count is None:
            count = self._by_class[hundreds] = HTTP_REQUESTS.labels(self._route, f"{hundreds}xx")
        count.value += 1
        self._observe(seconds)


def render() -> bytes:
    """All metrics in the text format that Prometheus scrapes."""
    return generate_latest(REGISTRY)
