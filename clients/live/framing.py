"""WebSocket frames, as autobahn reads and writes them: the one place that knows autobahn.

Autobahn shakes hands, takes frames apart, unmasks them and puts them together. What it leaves to us, or does at the
wrong price, is done here: messages are counted and collected over their fragments (a thousand fragments of one byte
cost a thousand bytes), nothing is compressed, nothing is logged, and none of its timers runs. Text is not validated
while it comes: the JSON parser does that.

Not here: what the messages say, and how much is written when (`bridge`).
https://www.rfc-editor.org/rfc/rfc6455
"""

from collections.abc import Callable
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats

from clients.live.wire import Listener, Transport

TEXT, CONTINUATION, PING, PONG = 1, 0, 9, 10
MAX_REASON = 123

_LOCAL_STATE = ("http_headers", "http_request_data", "http_request_params", "http_response_data", "_wskey")


class _Silence:
    """In the place of autobahn's log, which would tell of every frame, and repeats what strangers say."""

    def debug(self, *_: object, **__: object) -> None: ...

    info = warn = error = debug


class _NoTraffic(TrafficStats):
    """One for all connections: nobody reads it."""


class Framing(WebSocketServerProtocol):
    """The frames of one connection."""

    log = _Silence()
    # The options are the class's: autobahn would copy each into every connection.
    CONFIG_ATTRS: list[str] = []
    logOctets = logFrames = trackTimings = False
    utf8validateIncoming = False
    applyMask = True
    maxFramePayloadSize = maxMessagePayloadSize = autoFragmentSize = 0
    failByDrop = True
    echoCloseCodeReason = False
    openHandshakeTimeout = closeHandshakeTimeout = 0
    tcpNoDelay = False
    autoPingInterval = autoPingTimeout = 0
    autoPingSize = 12
    autoPingRestartOnAnyTraffic = False
    versions = (13,)
    webStatus = False
    requireMaskedClientFrames = True
    maskServerFrames = False
    serveFlashSocketPolicy = False
    flashSocketPolicy = ""
    allowedOrigins = ("*",)
    maxConnections = 0
    trustXForwardedFor = 0

    def __init__(self, listener: Listener, transport: Transport) -> None:
        super().__init__()
        self.factory = _FACTORY
        self.allowedOriginsPatterns = _FACTORY.allowedOriginsPatterns
        self.perMessageCompressionAccept = _accept_no_compression
        # Twisted says that a transport has more than autobahn asks of it.
        self.transport = cast(Any, transport)
        self._out = transport
        self._listener = listener
        self._message = bytearray()
        self._fragments = 0
        self._drops = False
        self._connectionMade()
        self.trafficStats = _TRAFFIC

    @property
    def is_clean(self) -> bool:
        """Both sides have said goodbye."""
        return bool(self.wasClean)

    @property
    def can_send(self) -> bool:
        """The hands are shaken, and neither side has said goodbye."""
        return bool(self.state == self.STATE_OPEN)

    def shake_hands(self, head: bytes) -> None:
        """Answers the request that became this connection."""
        self.data = head
        self.consumeData()
        for name in _LOCAL_STATE:
            self.__dict__.pop(name, None)

    def receive(self, data: bytes) -> None:
        self.data += data
        self.consumeData()

    # writing

    def send_text(self, payload: bytes) -> None:
        self.sendFrame(TEXT, payload)

    def send_fragment(self, payload: bytes, *, first: bool, last: bool) -> None:
        self.sendFrame(TEXT if first else CONTINUATION, payload, fin=last)

    def send_ping(self, payload: bytes) -> None:
        self.sendFrame(PING, payload)

    def send_pong(self, payload: bytes) -> None:
        self.sendFrame(PONG, payload)

    def send_close(self, code: int, reason: str) -> None:
        """Nothing can be sent after it."""
        self._drops = True
        self._message = bytearray()
        self.sendCloseFrame(code, reason.encode()[:MAX_REASON])

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self._out.write(data)

    # what autobahn calls

    def onConnect(self, request: Any) -> str | None:
        """The subprotocol to speak: whoever opened the connection has left only the right one."""
        offered: list[str] = request.protocols
        return offered[0] if offered else None

    def onMessageBegin(self, isBinary: bool) -> None:
        if isBinary and not self._drops:
            self._drop(self._listener.binary)

    def onMessageFrameBegin(self, length: int) -> None:
        self._fragments += 1
        if self._drops:
            return
        listener = self._listener
        if len(self._message) + length > listener.max_message or self._fragments > listener.max_fragments:
            self._drop(listener.too_large)

    def onMessageFrameData(self, payload: bytes) -> None:
        if not self._drops:
            self._message += payload

    def onMessageFrameEnd(self) -> None:
        """A frame is nothing to us, only a message is."""

    def onMessageEnd(self) -> None:
        self._fragments = 0
        if not self._drops:
            message = bytes(self._message)
            self._message.clear()
            self._listener.text(message)

    def onPing(self, payload: bytes) -> None:
        if not self._drops:
            self._listener.pinged(payload)

    def onPong(self, payload: bytes) -> None:
        if not self._drops:
            self._listener.ponged(payload)

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        """The connection tells us itself when it is lost."""

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> bool | None:
        if not self._drops:
            self._drops = True
            self._listener.closed_by_client()
        return super().onCloseFrame(code, reasonRaw)

    def _drop(self, tell: Callable[[], None]) -> None:
        """Take no more from this client, whatever it still sends."""
        self._drops = True
        self._message = bytearray()
        tell()


def _accept_no_compression(offers: object) -> None:
    """Compression beside secrets tells them by its length, and costs CPU."""


# Autobahn's functions have no types: these do.
_make_factory: Callable[..., Any] = WebSocketServerFactory
_make_traffic: Callable[[], Any] = _NoTraffic
# The reactor is never asked for anything: we have no timers there.
_FACTORY = _make_factory(server=None, reactor=object())
_TRAFFIC = _make_traffic()
