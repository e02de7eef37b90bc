"""Between an asyncio transport and the frames: what is read in which slices, and what is written when.

Outbound: while the transport takes bytes, messages go straight into it. Once it says that its buffer is full they wait
here, in order, and large ones are cut into fragments of which one at a time is in the transport. Inbound: what arrives
is taken apart slice by slice, with turns of the loop for others in between, and nothing more is read while many answers
wait to be written. So what a client makes us hold is bounded, whatever it sends and whether or not it reads.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from clients.live.bounds import Bounds
from clients.live.wire import INTERNAL_ERROR, Frames, Listener, MakeFrames
from homeserver.http.upgrade import Line
from homeserver.telemetry.metrics import UNFORESEEN_ERRORS, WEBSOCKET_FRAMES

log = logging.getLogger(__name__)

SLICE = 8 * 1024

_sent = WEBSOCKET_FRAMES.labels("out")


class Speaker(Listener, Protocol):
    """Who speaks over the bridge."""

    def opened(self) -> None:
        """The hands are shaken."""
        ...

    def lost(self) -> None:
        """Nothing can be sent any more."""
        ...

    def blocked(self) -> None:
        """The client does not take what it is sent."""
        ...

    def unblocked(self) -> None:
        """It does again."""
        ...

    def server_stops(self) -> None: ...


class Bridge(Line):
    """One connection. It is the transport of its frames."""

    __slots__ = (
        "_bounds",
        "_frames",
        "_head",
        "_held",
        "_incoming",
        "_make_frames",
        "_offset",
        "_queue",
        "_queued",
        "_speaker",
        "_stranger",
        "_written",
        "is_blocked",
    )

    def __init__(self, head: bytes, bounds: Bounds, speaker: Speaker, make_frames: MakeFrames) -> None:
        """`head` is the request that opens the WebSocket."""
        super().__init__()
        self._head = head
        self._bounds = bounds
        self._speaker: Speaker | None = speaker
        self._make_frames = make_frames
        self._frames: Frames | None = None
        self._incoming = b""
        self._held = False
        self._queue: list[bytes | Callable[[], None]] = []
        # Of the first message in the queue: how much of it was sent.
        self._offset = 0
        self._queued = 0
        self._written = 0
        self._stranger = True
        self.is_blocked = False

    # the life of the connection

    def opened(self) -> None:
        if self._speaker is None or self.transport is None:
            return
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._bounds.kernel_buffer)
        self._frames = self._make_frames(self._speaker, self)
        head, self._head = self._head, b""
        self._frames.shake_hands(head)
        if self._frames.can_send:
            self._speaker.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        speaker, self._speaker = self._speaker, None
        to, self._frames = self._frames, None
        if to is not None:
            to.lost()
        self._incoming = b""
        self._queue.clear()
        self._queued = 0
        super().connection_lost(exc)
        if speaker is not None:
            speaker.lost()

    def authenticated(self) -> None:
        self._stranger = False
        super().authenticated()

    @property
    def evictable(self) -> bool:
        return self._stranger

    def force_close(self) -> None:
        if self._speaker is not None:
            self._speaker.server_stops()

    # reading

    def data_received(self, data: bytes) -> None:
        if self._incoming:
            self._incoming += data
        elif len(data) <= SLICE and not self._held:
            self._take(data)
        else:
            self._incoming = data
            self._take_slices()

    def _take_slices(self) -> None:
        """One slice now, the next when others had their turn."""
        if self._incoming and not self._held:
            data, self._incoming = self._incoming[:SLICE], self._incoming[SLICE:]
            self._take(data)
        if self.transport is None:
            return
        if self._incoming or self._held:
            self.transport.pause_reading()
            if self._incoming and not self._held:
                asyncio.get_running_loop().call_soon(self._take_slices)
        else:
            self.transport.resume_reading()

    def _take(self, data: bytes) -> None:
        if self._frames is None:
            return
        try:
            self._frames.receive(data)
        except Exception:
            log.exception("Unforeseen error on a WebSocket")
            UNFORESEEN_ERRORS.labels("websocket").inc()
            self.close(INTERNAL_ERROR, "Internal server error", at_once=True)

    def _hold(self, hold: bool) -> None:
        """Read nothing, or go on."""
        if hold != self._held:
            self._held = hold
            if hold and self.transport is not None:
                self.transport.pause_reading()
            elif not hold:
                asyncio.get_running_loop().call_soon(self._take_slices)

    # writing

    @property
    def waiting(self) -> int:
        """Bytes that were not accepted by the kernel yet."""
        return self._queued + (self.transport.get_write_buffer_size() if self.transport is not None else 0)

    @property
    def accepted(self) -> int:
        """Bytes that were."""
        return self._written - (self.transport.get_write_buffer_size() if self.transport is not None else 0)

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be written."""
        return not self.is_blocked and not self._queue

    def send(self, message: bytes) -> None:
        """A text message; it waits for its turn."""
        to = self._frames
        if to is None or not to.can_send:
            return
        _sent.value += 1
        if self.is_idle and len(message) <= self._bounds.fragment:
            to.send_text(message)
        else:
            self._queued += len(message)
            self._enqueue(message)

    def ping(self, payload: bytes) -> None:
        """A ping after all messages that were sent before."""
        self._enqueue(lambda: self._frames.send_ping(payload) if self._frames is not None else None)

    def pong(self, payload: bytes) -> None:
        """Left out while bytes wait: whoever sends pings and does not read gets no answer."""
        if self._frames is not None and self._frames.can_send and self.is_idle:
            self._frames.send_pong(payload)

    def close(self, code: int, reason: str, *, at_once: bool = False) -> None:
        """Say goodbye, after what still waits, or `at_once` in its place."""
        if at_once:
            self._queue.clear()
            self._queued = 0
            self._say_goodbye(code, reason)
        else:
            self._enqueue(lambda: self._say_goodbye(code, reason))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _say_goodbye(self, code: int, reason: str) -> None:
        if self._frames is not None and self._frames.can_send:
            self._frames.send_close(code, reason)

    def _enqueue(self, what: bytes | Callable[[], None]) -> None:
        self._queue.append(what)
        self._flush()
        if len(self._queue) >= self._bounds.max_queued:
            self._hold(True)

    def _flush(self) -> None:
        while self._queue and not self.is_blocked and self._frames is not None and self._frames.can_send:
            first = self._queue[0]
            if not isinstance(first, bytes):
                del self._queue[0]
                first()
            else:
                self._send_part(first, self._frames)
        if self._held and len(self._queue) * 2 < self._bounds.max_queued:
            self._hold(False)

    def _send_part(self, message: bytes, to: Frames) -> None:
        """The next fragment of the first message in the queue, or all of it."""
        size, start = len(message), self._offset
        end = min(start + self._bounds.fragment, size)
        self._queued -= end - start
        self._offset = end
        if end == size:
            del self._queue[0]
            self._offset = 0
        if start == 0 and end == size:
            to.send_text(message)
        else:
            to.send_fragment(message[start:end], first=start == 0, last=end == size)

    def pause_writing(self) -> None:
        self.is_blocked = True
        if self._speaker is not None:
            self._speaker.blocked()

    def resume_writing(self) -> None:
        self.is_blocked = False
        self._flush()
        if self.is_idle and self._speaker is not None:
            self._speaker.unblocked()

    # what the frames call

    def write(self, data: bytes) -> None:
        self._written += len(data)
        if self.transport is not None:
            self.transport.write(data)

    def loseConnection(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abortConnection(self) -> None:
        """The client has answered our goodbye, or does not speak WebSocket."""
        if self._frames is not None and self._frames.is_clean:
            self.loseConnection()
        else:
            self.abort()

    def unregisterProducer(self) -> None:
        """There is none."""
