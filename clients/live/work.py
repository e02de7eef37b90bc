"""What sockets ask of the house: the sync and the requests of HTTP, through the same routes, and nothing of their own.

A frame becomes a `Request` with the socket's token in its header. So it meets the same authentication, limits,
suspension, transaction ids and errors as over HTTP. Only what is on the list here may be asked: everything that a
person does in a room many times a minute.

A sync that asks for just what the one before asked for, but for its token, is spared all that: the sync service has it
wait, and takes it back if it must be asked as a request after all.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Protocol

from clients.live.frames import Query, dumps, json_object, query_of
from clients.live.habits import Ask, Habit, Shapes
from homeserver.domain.errors import BadRequest, RequestError
from homeserver.http.answers import Answer, json_answer
from homeserver.http.body import WholeBody
from homeserver.http.edge import Edge, log_access, logs_access
from homeserver.http.errors import MethodNotAllowed, internal_error, request_error
from homeserver.http.request import Authenticated, Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.sync import hearing
from homeserver.services.sync.request import SyncRequest
from homeserver.services.tokens import SyncToken, parse_sync_token
from homeserver.telemetry import logs
from homeserver.telemetry.metrics import RouteMetrics

SYNC = "/_matrix/client/v3/sync"
_ROOM = "/_matrix/client/v3/rooms/{room_id}"
ALLOWED = frozenset(
    {
        ("PUT", f"{_ROOM}/send/{{event_type}}/{{txn_id}}"),
        ("PUT", f"{_ROOM}/redact/{{event_id}}/{{txn_id}}"),
        ("PUT", f"{_ROOM}/state/{{event_type}}"),
        ("PUT", f"{_ROOM}/state/{{event_type}}/"),
        ("PUT", f"{_ROOM}/state/{{event_type}}/{{state_key}}"),
        ("PUT", f"{_ROOM}/typing/{{user_id}}"),
        ("POST", f"{_ROOM}/receipt/{{receipt_type}}/{{event_id}}"),
        ("POST", f"{_ROOM}/read_markers"),
        ("PUT", "/_matrix/client/v3/sendToDevice/{event_type}/{txn_id}"),
    }
)
_METHODS = frozenset(method for method, _ in ALLOWED)
# Who somebody is stands in the token: nothing beside it may say something else.
FORBIDDEN_QUERY = frozenset({"user_id", "access_token"})
USE_HTTP = "IO.PARLEY_USE_HTTP"

_EMPTY = WholeBody(b"")


class Live(Protocol):
    """The sync, as far as it is asked directly."""

    def continues(self, since: SyncToken) -> bool: ...
    def listen(self, request: SyncRequest, since: str, tell: hearing.Tell) -> hearing.Hearing | None: ...


class Reader(Protocol):
    """Knows what a request for a sync wants."""

    async def read(self, request: Request, requester: Requester) -> SyncRequest: ...


class Asker(Protocol):
    """The socket: who asks."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def remote(self) -> str: ...
    @property
    def connection(self) -> Authenticated: ...


class Work:
    """`routes` are those of the client API. `max_answer`: in bytes, of a sync."""

    def __init__(self, routes: Iterable[Route], live: Live, reader: Reader, max_answer: int) -> None:
        routes = list(routes)
        syncs = [route for route in routes if (route.method, route.path) == ("GET", SYNC)]
        self._sync = Edge(syncs)
        self._metrics = [RouteMetrics(route.label) for route in syncs]
        self._reader = reader
        self._shapes = Shapes()
        self._requests = Edge(route for route in routes if (route.method, route.path) in ALLOWED)
        self._live = live
        self._max_answer = max_answer
        self._numbers = itertools.count(1)

    def listen(self, habit: Habit, since: str, tell: Callable[[bytes | None], None]) -> hearing.Hearing | None:
        """Syncs like the one before, for as long as they go on: `tell` is called with each answer. None, or told None:
        it must be asked by `sync`."""
        if habit.request is None or logs_access():
            return None

        def heard(body: bytes | None, seconds: float) -> None:
            if body is None or len(body) > self._max_answer:
                tell(None)
            else:
                for metrics in self._metrics:
                    metrics.observe(200, seconds)
                tell(body)

        return self._live.listen(habit.request, since, heard)

    async def sync(self, asker: Asker, habit: Habit, ask: Ask, left: float | None = None) -> Answer:
        """The answer to a sync frame: that of GET /sync, unless it is one for HTTP. `left`: seconds of its time."""
        try:
            query = query_of(json_object(ask.wanted, "sync"))
            self._refuse_first_sync(query)
        except RequestError as error:
            return request_error(error)
        if left is not None:
            query["timeout"] = [str(max(0, int(left * 1000)))]
        request = self._request(asker, "GET", SYNC, _EMPTY, query)
        answer = await self._run(self._sync, request)
        if answer.status == 200 and left is None:
            habit.request = await self._reader.read(request, request.context)
            habit.shape = self._shapes.of(ask)
        return self._bounded(answer)

    def _bounded(self, answer: Answer) -> Answer:
        if len(answer.body) > self._max_answer:
            return json_answer({"errcode": USE_HTTP, "error": "This answer is too large: ask for it over HTTP"}, 413)
        return answer

    async def request(self, asker: Asker, asked: Any) -> Answer:
        """The answer to a request frame."""
        try:
            request = json_object(asked, "request")
            method, path = request.get("method"), request.get("path")
            if not isinstance(method, str) or not isinstance(path, str) or "?" in path or "#" in path:
                raise BadRequest("A request has a method and an escaped path without a query", "M_BAD_JSON")
            if method not in _METHODS:
                raise MethodNotAllowed(", ".join(sorted(_METHODS)))
            query = query_of(json_object(request.get("query") or {}, "query"))
            if FORBIDDEN_QUERY & query.keys():
                raise BadRequest("The query of a request over a WebSocket must not say who asks")
            body = request.get("body")
            content = WholeBody(b"" if body is None else dumps(json_object(body, "body")))
        except RequestError as error:
            return request_error(error)
        return await self._run(self._requests, self._request(asker, method, path, content, query))

    def _refuse_first_sync(self, query: Query) -> None:
        """A first sync is large, and streams over HTTP."""
        since = query.get("since", [None])[0]
        if since is None or query.get("full_state") == ["true"] or not self._live.continues(parse_sync_token(since)):
            raise BadRequest("Over a WebSocket a sync goes on from a token: begin over HTTP", USE_HTTP)

    def _request(self, asker: Asker, method: str, path: str, body: WholeBody, query: Query) -> Request:
        identifier = f"ws-{next(self._numbers)}"
        return Request(method, path, asker.headers, body, asker.connection, asker.remote, identifier, query)

    async def _run(self, edge: Edge, request: Request) -> Answer:
        logs.request_id.set(request.request_id)
        started = monotonic()
        answer, metrics = await edge.answer(request)
        if not isinstance(answer, Answer):
            # No route here leaves HTTP.
            return internal_error()
        seconds = monotonic() - started
        metrics.observe(answer.status, seconds)
        log_access(request, answer, seconds)
        return answer
