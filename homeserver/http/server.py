"""The HTTP server: from a parsed head to a written answer, and the end of both.

One server has one table of routes and any number of listening sockets, plain or TLS. Every request gets an id, runs its
endpoint, is answered whatever happens (`edge`), is counted, and is told to the log.

Draining: no newcomers, idle connections are closed, `stopping` is set so that long-polls answer empty, requests in
flight finish and close their connections, connections that left HTTP say goodbye; what is left after the bound is cut.

Not here: parsing (`request`, `body`), the wire (`connection`, `wire`), who may connect (`acceptor`), what follows HTTP
on a connection that left it (`upgrade`).
"""

import asyncio
import itertools
import logging
import ssl
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any, cast

from aiohttp import web
from aiohttp.http_writer import HttpVersion11

from homeserver.domain.errors import RequestError
from homeserver.http.acceptor import Acceptor
from homeserver.http.addresses import forwarded_for
from homeserver.http.answers import Answer, StreamedAnswer, json_answer
from homeserver.http.body import Body, expects_continue
from homeserver.http.connection import ENDS, GOES_ON, Connection, Exchange, Written
from homeserver.http.edge import Edge, log_access
from homeserver.http.limits import ServerLimits
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.http.upgrade import Line, Occupant, Upgrade
from homeserver.http.wire import LAST_CHUNK, Heads, chunk, has_body
from homeserver.ports import Clock
from homeserver.telemetry import logs
from homeserver.telemetry.metrics import HTTP_REQUESTS_IN_FLIGHT, UNFORESEEN_ERRORS

log = logging.getLogger(__name__)

_NOT_AN_UPGRADE = json_answer({"errcode": "M_UNKNOWN", "error": "This request does not leave HTTP"}, 400)
_SWITCHED = 101

_CUT_SECONDS = 5.0


class HttpServer:
    """Serves `routes`. `stopping` is set when it begins to drain; whatever waits for long should wait for it too."""

    def __init__(
        self, routes: Iterable[Route], *, clock: Clock, stopping: asyncio.Event, limits: ServerLimits | None = None
    ) -> None:
        """Raises ValueError if two routes are the same."""
        self._edge = Edge(routes)
        self._limits = limits if limits is not None else ServerLimits()
        self._stopping = stopping
        self._heads = Heads(clock)
        # Unique over restarts, short enough to read out.
        self._id_prefix = f"{clock.now_ms() // 1000 & 0xFFFFFF:06x}-"
        self._numbers = itertools.count(1)
        self._in_flight: set[Occupant] = set()
        self._lines: set[Line] = set()
        self._quiet = asyncio.Event()
        self._draining = False
        self._acceptor: Acceptor | None = None

    # beginning and end

    async def listen(self, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Begin to accept connections there; port 0 takes a free one. Raises OSError."""
        if self._acceptor is None:
            # Exchange and Written stand in for aiohttp's request and response: see `connection`.
            options: dict[str, Any] = {"request_factory": Exchange, "handler_cancellation": True}
            manager = web.Server(self._serve, **options)
            limits, heads = self._limits, self._heads
            self._acceptor = Acceptor(lambda admission: Connection(manager, admission, limits, heads), limits)
        self._acceptor.listen(address, port, tls)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, with the real port numbers."""
        return self._acceptor.addresses if self._acceptor is not None else []

    @property
    def open_connections(self) -> int:
        """Connections of any kind, TLS handshakes included."""
        return self._acceptor.open_connections if self._acceptor is not None else 0

    @property
    def requests_in_flight(self) -> int:
        return len(self._in_flight)

    def stop_listening(self) -> None:
        """Refuse newcomers; everything else goes on."""
        if self._acceptor is not None:
            self._acceptor.stop_listening()

    async def drain(self, seconds: float) -> None:
        """Stop: requests in flight get `seconds` to finish, then every connection is closed."""
        self._draining = True
        self._stopping.set()
        if self._acceptor is None:
            return
        self._acceptor.stop_listening()
        for admission in self._acceptor:
            if admission.connection is None:
                admission.abort()
            elif admission.connection not in self._in_flight:
                admission.connection.force_close()
        if not await self._quiet_within(seconds):
            log.warning("%d requests were cut after %g s of draining", len(self._in_flight), seconds)
        await self._acceptor.abort()
        # Requests that were cut are cancelled; give them time to clean up behind themselves.
        if not await self._quiet_within(_CUT_SECONDS):
            log.error("%d requests do not let themselves be cancelled", len(self._in_flight))

    async def _quiet_within(self, seconds: float) -> bool:
        if self._is_quiet():
            return True
        self._quiet.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def _is_quiet(self) -> bool:
        return not self._in_flight and not self._lines

    # one request

    async def _serve(self, exchange: web.BaseRequest) -> web.StreamResponse:
        """What aiohttp's request loop calls with each parsed head."""
        return cast(web.StreamResponse, await self._exchange(cast(Exchange, exchange)))

    async def _exchange(self, exchange: Exchange) -> Written:
        connection = exchange.connection
        if not connection.connected:
            return ENDS
        started = asyncio.get_running_loop().time()
        self._in_flight.add(connection)
        HTTP_REQUESTS_IN_FLIGHT.inc()
        try:
            request = self._request(exchange)
            answer, metrics = await self._edge.answer(request)
            if isinstance(answer, Upgrade):
                if exchange.message.upgrade and not self._draining:
                    metrics.observe(_SWITCHED, asyncio.get_running_loop().time() - started)
                    self._hand_over(connection, answer.line)
                    return ENDS
                answer = _NOT_AN_UPGRADE
            close = self._must_close(exchange)
            if isinstance(answer, StreamedAnswer):
                size = await self._stream(exchange, answer, close)
                answer = Answer()
            else:
                body = answer.body if has_body(answer.status) and request.method != "HEAD" else b""
                await connection.send(self._heads.head(answer, close=close), body)
                size = len(answer.body)
            seconds = asyncio.get_running_loop().time() - started
            metrics.observe(answer.status, seconds)
            log_access(request, answer, seconds, size)
            if not exchange.payload.is_eof() and not expects_continue(request.headers):
                await connection.discard(exchange.payload)
            return ENDS if close else GOES_ON
        except ConnectionError:
            # The client went away: not an error of anybody.
            return ENDS
        finally:
            HTTP_REQUESTS_IN_FLIGHT.dec()
            self._in_flight.discard(connection)
            if self._is_quiet():
                self._quiet.set()

    async def _stream(self, exchange: Exchange, answer: StreamedAnswer, close: bool) -> int:
        """Sends the parts of an answer as the client takes them; how many bytes they were.

        If a part cannot be made, the connection is cut: only so the client learns that it has not all of it.
        """
        connection, message = exchange.connection, exchange.message
        chunked = message.version == HttpVersion11
        head = self._heads.streamed(chunked=chunked, close=close)
        async with aclosing(answer.rest) as rest:
            if message.method == "HEAD":
                await connection.send(head, b"")
                return 0
            await connection.send(head, chunk(answer.first) if chunked else answer.first)
            size = len(answer.first)
            try:
                async for part in rest:
                    if part:
                        await connection.send(b"", chunk(part) if chunked else part)
                        size += len(part)
                    del part  # while the next one is made
            except ConnectionError:
                raise
            except Exception as error:  # the edge of one request: its endpoint has returned long ago
                if isinstance(error, RequestError):
                    log.warning("An answer was cut short: %s", error)
                else:
                    log.exception("A part of the answer to %s %s could not be made", message.method, message.path)
                    UNFORESEEN_ERRORS.labels("http").inc()
                connection.cut()
                raise ConnectionAbortedError("The answer was cut short") from error
            if chunked:
                await connection.send(b"", LAST_CHUNK)
        return size

    def _hand_over(self, connection: Connection, line: Line) -> None:
        self._lines.add(line)
        try:
            connection.hand_over(line, self._line_ended)
        except BaseException:
            self._lines.discard(line)
            raise

    def _line_ended(self, line: Line) -> None:
        self._lines.discard(line)
        if self._is_quiet():
            self._quiet.set()

    def _request(self, exchange: Exchange) -> Request:
        message, connection = exchange.message, exchange.connection
        identifier = self._id_prefix + str(next(self._numbers))
        logs.request_id.set(identifier)
        remote = connection.slot.remote
        if connection.slot.proxied:
            forwarded = message.headers.getall("X-Forwarded-For", ())
            remote = forwarded_for(remote, forwarded, self._limits.trusted_proxies)
        body = Body(exchange.payload, message.headers, connection, self._limits)
        target = message.path if message.path.startswith("/") else _origin_form(message.path)
        return Request(message.method, target, message.headers, body, connection, remote, identifier)

    def _must_close(self, exchange: Exchange) -> bool:
        """Whether this answer is the last one of its connection."""
        message, payload = exchange.message, exchange.payload
        if self._draining or message.should_close or message.version != HttpVersion11:
            return True
        if payload.is_eof():
            return False
        # Unread: read on only if the rest is known to be short and on its way.
        length = message.headers.get("Content-Length")
        return length is None or int(length) > self._limits.linger_bytes or expects_continue(message.headers)


def _origin_form(target: str) -> str:
    """Path and query of `http://host/path?query`, which "a server MUST accept" (RFC 9112 section 3.2.2)."""
    _, scheme, rest = target.partition("://")
    return "/" + rest.partition("/")[2] if scheme else target
