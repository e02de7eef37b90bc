"""One connection: aiohttp's parser and request loop, with the bounds that it lacks.

aiohttp bounds the length of lines and the idle time between requests. Added here: a time and a size for every request
head, an end for clients that do not take their answer, a bounded goodbye to bodies that nobody reads, and JSON instead
of text for what the parser refuses. The answer is written here too, as bytes in one piece: that is half the CPU of
aiohttp's Response.

This is the one module that touches the inside of aiohttp's RequestHandler (its slots `_messages`, `_request_count`,
`_drain_waiter` and those of `hand_over`; its hooks `handle_error` and `data_received`). When aiohttp changes, look
here.

Not here: what is answered (`server`), and how many connections there may be (`acceptor`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestPayloadError

from homeserver.http.answers import Answer, json_answer
from homeserver.http.limits import ServerLimits
from homeserver.http.upgrade import Line, Slot
from homeserver.http.wire import CONTINUE, Heads
from homeserver.telemetry.metrics import HTTP_CONNECTIONS_REFUSED, UNFORESEEN_ERRORS

log = logging.getLogger(__name__)

# aiohttp would inflate a request's body as it arrives.
AUTO_DECOMPRESS = False

_ONE_WRITE = 16 * 1024

_refused_head = HTTP_CONNECTIONS_REFUSED.labels("head")
_refused_stalled = HTTP_CONNECTIONS_REFUSED.labels("stalled")


class Written:
    """What aiohttp is told after the answer has been written: whether the connection goes on."""

    __slots__ = ("keep_alive",)

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, exchange: "Exchange") -> None:
        """aiohttp's Response would write its head here."""

    async def write_eof(self) -> None:
        """aiohttp's Response would write its body here."""


GOES_ON = Written(True)
ENDS = Written(False)


class Exchange:
    """A parsed head, its body to come, and the connection: what aiohttp's request loop passes around.

    In the place of aiohttp's BaseRequest, which parses more than we need; `_task`, `_finish`, `_cancel` are called by
    the loop.
    """

    __slots__ = ("_task", "connection", "message", "payload")

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.message = message
        self.payload = payload
        self.connection = cast(Connection, protocol)
        self._task = task

    def _finish(self) -> None:
        """Nothing is kept that would have to be closed."""

    def _cancel(self, error: BaseException) -> None:
        """The task itself is cancelled when the client goes away."""


class Connection(web.RequestHandler):
    """A client's connection, from the end of its TLS handshake to its close."""

    __slots__ = ("_body", "_head_bytes", "_head_timer", "_heads", "_limits", "_receiving", "slot")

    def __init__(self, manager: web.Server, slot: Slot, limits: ServerLimits, heads: Heads) -> None:
        options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": AUTO_DECOMPRESS,
            "keepalive_timeout": limits.keepalive_seconds,
            "lingering_time": 0,
            "max_field_size": limits.max_header,
            "max_headers": limits.max_headers,
            "max_line_size": limits.max_request_line,
            "read_bufsize": limits.read_buffer,
        }
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self.slot = slot
        self._limits = limits
        self._heads = heads
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        self._receiving = False

    # what aiohttp's transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.slot.opened(self, cast(asyncio.Transport, transport))
        self._start_head_timer()

    def connection_lost(self, error: BaseException | None) -> None:
        super().connection_lost(error)
        self._stop_head_timer()
        self.slot.released()
        # What points back here: without circles it is freed at once, and a flood leaves nothing to the collector.
        self._body = EMPTY_PAYLOAD
        self._keepalive_handle = None

    def never_made(self) -> None:
        """There was no transport: nothing else will tell of its end."""
        self._parser = None

    def data_received(self, data: bytes) -> None:
        parsed = self._request_count
        within_body = not self._body.is_eof()
        super().data_received(data)
        if self._request_count != parsed:
            self._heads_parsed(within_body)
        elif data and not within_body:
            self._part_of_head(len(data))

    def _heads_parsed(self, within_body: bool) -> None:
        """At least one request, or the parser's complaint, waits to be answered."""
        self._stop_head_timer()
        self._head_bytes = 0
        if not self._messages:
            return
        message, payload = self._messages[-1]
        if within_body and not isinstance(message, RawRequestMessage) and not self._body.is_eof():
            # A broken chunk: aiohttp leaves whoever reads this body waiting for ever.
            self._body.set_exception(RequestPayloadError("broken transfer encoding"))
        self._body = payload

    def _part_of_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_head:
            self._cut_head()
        elif self._head_timer is None:
            self._start_head_timer()

    # the time of a head

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(self._limits.head_seconds, self._head_late)

    def _head_late(self) -> None:
        if self._current_request is None:
            self._cut_head()
        else:
            # The client waits for an answer; what it sends meanwhile has time until then.
            self._start_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_head(self) -> None:
        """Too slow, or too much: close."""
        self._stop_head_timer()
        _refused_head.inc()
        if self._head_bytes > self._limits.max_head and self._current_request is None:
            self._write(_refused(431, "M_TOO_LARGE", "The request head is too large"))
        self.force_close()

    # what the server calls

    @property
    def evictable(self) -> bool:
        """Nobody works for this connection: it is idle, or a request's body has not arrived yet."""
        return self._current_request is None or self._receiving

    def authenticated(self) -> None:
        self.slot.authenticated()

    def expect_body(self) -> None:
        self._receiving = True

    def body_arrived(self) -> None:
        self._receiving = False

    def send_continue(self) -> None:
        if self.transport is not None:
            self.transport.write(CONTINUE)

    async def send(self, head: bytes, body: bytes) -> None:
        """Write an answer, and wait until the client has taken most of it.

        Raises ConnectionError if the client is gone, or takes nothing for `stall_seconds`.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The client is gone")
        if len(body) <= _ONE_WRITE:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        while self.writing_paused:
            await self._drained(transport)

    def cut(self) -> None:
        """End the connection at once: the client must not take what it has for a whole answer."""
        if self.transport is not None:
            self.transport.abort()

    async def _drained(self, transport: asyncio.Transport) -> None:
        waiting = transport.get_write_buffer_size()
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                await self._drain_helper()
        except TimeoutError:
            # The time-out has cancelled the future that the next wait would find.
            self._drain_waiter = None
            if transport.get_write_buffer_size() >= waiting:
                _refused_stalled.inc()
                transport.abort()
                raise ConnectionAbortedError("The client does not take its answer") from None

    def hand_over(self, line: Line, ended: Callable[[Line], None]) -> None:
        """Leave the transport to `line`, with what has arrived after the head. HTTP is over on this connection.

        aiohttp lets go of everything as if the client had left, but for the request under way, which ends by itself.
        Raises ConnectionError if the client is gone.
        """
        transport, manager = self.transport, self._manager
        if transport is None or transport.is_closing() or manager is None:
            raise ConnectionResetError("The client is gone")
        self._stop_head_timer()
        self.keep_alive(False)
        manager.connection_lost(self, None)
        tail, self._message_tail = self._message_tail, b""
        self._force_close = True
        self._manager = self._parser = self.transport = None
        self._request_handler = self._request_factory = None
        line.take(transport, self.slot, ended)
        if self.writing_paused:
            line.pause_writing()
        if tail:
            line.data_received(tail)
        if self._buffer_paused:
            transport.resume_reading()

    async def discard(self, payload: StreamReader) -> None:
        """Take leave of a body that nobody wants: read and throw away `linger_bytes` of it, then read no more.

        Closing at once would reset the connection, and the client would never see why it was refused; so the
        connection stays for `linger_seconds`, or until the body has ended or the client has gone.
        """
        left = self._limits.linger_bytes
        self._receiving = True
        try:
            async with asyncio.timeout(self._limits.linger_seconds):
                while chunk := await payload.readany():
                    left -= len(chunk)
                    if left <= 0:
                        await asyncio.sleep(self._limits.linger_seconds)
        except (TimeoutError, RequestPayloadError, HttpProcessingError) as error:
            log.debug("The rest of a refused body: %r", error)
        finally:
            self._receiving = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp calls for a head that it cannot parse, and for an exception that left the server."""
        if isinstance(exc, LineTooLong):
            self._write(_refused(431, "M_TOO_LARGE", "The request head is too large"))
        elif isinstance(exc, BadHttpMethod):
            self._write(_refused(405, "M_UNRECOGNIZED", "Method not allowed"))
        elif isinstance(exc, HttpProcessingError):
            self._write(_refused(400, "M_UNKNOWN", "Bad request"))
        else:
            # Our own edge let it pass: the answer may be half written, so there is nothing to say to the client.
            log.error("Unforeseen error in the HTTP server", exc_info=exc)
            UNFORESEEN_ERRORS.labels("http").inc()
            self.force_close()
        return cast(web.StreamResponse, ENDS)

    def _write(self, answer: Answer) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._heads.head(answer, close=True) + answer.body)


def _refused(status: int, errcode: str, error: str) -> Answer:
    return json_answer({"errcode": errcode, "error": error}, status)
