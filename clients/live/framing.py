"""WebSocket frames, as autobahn reads and writes them: the one place that knows autobahn.

Autobahn shakes hands, takes frames apart, unmasks them and puts them together. What it leaves to us, or does at the
wrong price, is done here: messages are counted and collected over their fragments (a thousand fragments of one byte
cost a thousand bytes), nothing is compressed, nothing is logged, and none of its timers runs. Text is not validated
while it comes: the JSON parser does that. A message that is one frame and arrives in one piece, as nearly all do, is
read and written without autobahn's state machine, which would cost as much as the sync it asks for.

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
# Sizes of a payload that take no further byte of the header, and two. https://www.rfc-editor.org/rfc/rfc6455#section-5.2
MAX_SHORT, MAX_MEDIUM = 125, 0xFFFF
_FINAL_TEXT, _MASKED = 0x80 | TEXT, 0x80

# What autobahn keeps of the handshake, and for what we do not let it do.
_LEFT_OVER = {"http_headers", "http_request_data", "http_request_params", "http_response_data", "_wskey"}
_LEFT_OVER |= {
    "http_request_host",
    "http_request_path",
    "http_request_uri",
    "http_status_line",
    "is_open",
    "send_queue",
}
_LEFT_OVER |= {"utf8validator", "websocket_extensions", "websocket_extensions_in_use", "websocket_origin"}
_LEFT_OVER |= {"websocket_protocols", "websocket_version", "_transport_details"}
# With which value of an attribute, if it is a plain one, every connection begins.
_STANDARD: dict[str, object] = {}


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
    websocket_version = 13
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
        self._lighten()

    def _lighten(self) -> None:
        """Drops what is of no use any more, and leaves to the class what is the same for all: autobahn gives every
        connection sixty attributes, which is most of its weight."""
        own = vars(self).items()
        self.__dict__ = {
            name: value for name, value in own if name not in _LEFT_OVER and _STANDARD.get(name, self) is not value
        }

    def receive(self, data: bytes) -> None:
        # Autobahn holds nothing of a frame or a message: what comes begins one.
        if not (self.data or self.current_frame or self.inside_message or self._drops) and self.can_send:
            payload = _whole_text(data)
            if payload is not None and len(payload) <= self._listener.max_message:
                self._listener.text(payload)
                return
        self.data += data
        self.consumeData()

    def lost(self) -> None:
        """The connection is gone: nothing more comes. Autobahn's future of that holds what it belongs to."""
        del self.is_closed

    # writing

    def send_text(self, payload: bytes) -> None:
        size = len(payload)
        if size <= MAX_SHORT:
            self._out.write(b"%c%c%b" % (_FINAL_TEXT, size, payload))
        elif size <= MAX_MEDIUM:
            self._out.write(b"%c%c%b%b" % (_FINAL_TEXT, MAX_SHORT + 1, size.to_bytes(2), payload))
        else:
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


def _whole_text(data: bytes) -> bytes | None:
    """The text of a whole message in one masked frame, and nothing else: what almost everything is that arrives. None
    for all that autobahn has to look at."""
    if len(data) < 6 or data[0] != _FINAL_TEXT:
        return None
    size, start = data[1] - _MASKED, 2
    if size == MAX_SHORT + 1:
        size, start = int.from_bytes(data[2:4]), 4
        if size <= MAX_SHORT:
            return None
    if not 0 < size <= MAX_MEDIUM or len(data) != start + 4 + size:
        return None
    mask = data[start : start + 4] * (size // 4 + 1)
    masked = int.from_bytes(data[start + 4 :])
    return (masked ^ int.from_bytes(mask[:size])).to_bytes(size)


class _Nobody:
    """Who listens to the pattern of a connection, and what it writes to."""


def _share() -> None:
    """The plain values with which every connection begins stand in the class."""
    pattern: Any = _Nobody()
    for name, value in vars(Framing(pattern, pattern)).items():
        if value is None or isinstance(value, bool | int | str | bytes):
            _STANDARD[name] = value
            setattr(Framing, name, value)


def _accept_no_compression(offers: object) -> None:
    """Compression beside secrets tells them by its length, and costs CPU."""


# Autobahn's functions have no types: these do.
_make_factory: Callable[..., Any] = WebSocketServerFactory
_make_traffic: Callable[[], Any] = _NoTraffic
# The reactor is never asked for anything: we have no timers there.
_FACTORY = _make_factory(server=None, reactor=object())
_TRAFFIC = _make_traffic()
_share()
