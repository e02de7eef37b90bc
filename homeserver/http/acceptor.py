"""Who may connect: listening sockets, and a bounded number of connections.

Sockets are accepted here rather than by the loop, because a loop tells of a connection only after its TLS handshake:
whoever never finishes one would not be counted. Each accepted socket gets a slot at once, and gives it back when it is
closed, however far it came. Newcomers push out the oldest connection on which nobody has authenticated and nobody
works; so a flood of strangers costs strangers, and never those who are logged in.

Not here: what goes over a connection (`connection`).
"""

import asyncio
import errno
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from itertools import islice

from homeserver.http.addresses import counted_address, is_in
from homeserver.http.connection import Connection
from homeserver.http.limits import ServerLimits
from homeserver.http.upgrade import Occupant
from homeserver.telemetry.metrics import HTTP_CONNECTIONS, HTTP_CONNECTIONS_ANONYMOUS, HTTP_CONNECTIONS_REFUSED

log = logging.getLogger(__name__)

_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 64
_EVICTION_SEARCH = 64
_PAUSE_WITHOUT_DESCRIPTORS = 0.5
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Admission:
    """The slot of one accepted socket."""

    __slots__ = (
        "_acceptor",
        "anonymous",
        "closing",
        "connection",
        "counted",
        "opening",
        "proxied",
        "remote",
        "transport",
    )

    def __init__(self, acceptor: "Acceptor", remote: str, counted: str, proxied: bool) -> None:
        self._acceptor = acceptor
        self.remote = remote
        self.counted = counted
        self.proxied = proxied
        self.anonymous = True
        self.closing = False
        self.opening: asyncio.Task[None] | None = None
        self.connection: Occupant | None = None
        self.transport: asyncio.Transport | None = None

    def opened(self, occupant: Occupant, transport: asyncio.Transport) -> None:
        self.connection = occupant
        self.transport = transport

    def authenticated(self) -> None:
        if self.anonymous:
            self.anonymous = False
            self._acceptor.known(self)

    def released(self) -> None:
        self.connection = None
        self.transport = None
        self._acceptor.release(self)

    @property
    def evictable(self) -> bool:
        return self.connection is None or self.connection.evictable

    def abort(self) -> None:
        """Close without waiting for anything that is still to be written."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()


class Acceptor:
    """The listening sockets of one server and all connections that came over them."""

    def __init__(self, connect: Callable[[Admission], Connection], limits: ServerLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._listening: dict[socket.socket, ssl.SSLContext | None] = {}
        self._admitted: set[Admission] = set()
        self._anonymous: dict[Admission, None] = {}
        self._by_address: dict[str, int] = {}
        self._empty = asyncio.Event()
        self._sweeping: asyncio.TimerHandle | None = None

    def listen(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Accept connections on every address that the name `address` has. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, sockaddr in dict.fromkeys(found):
            listening = socket.create_server(sockaddr[:2], family=family, backlog=_BACKLOG)
            listening.setblocking(False)
            self._listening[listening] = tls
            loop.add_reader(listening, self._accept, listening)
        if self._sweeping is None:
            self._sweep()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, with the real port numbers."""
        return [listening.getsockname()[:2] for listening in self._listening]

    @property
    def open_connections(self) -> int:
        """All slots taken, handshakes included."""
        return len(self._admitted)

    def __iter__(self) -> Iterator[Admission]:
        return iter(tuple(self._admitted))

    def stop_listening(self) -> None:
        """Refuse newcomers; the connections that there are go on."""
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening)
            listening.close()
        self._listening.clear()

    async def abort(self) -> None:
        """Close every connection at once, and return when the last one is gone."""
        for admission in self:
            admission.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._admitted:
            self._empty.clear()
            await self._empty.wait()

    # admitting

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, sockaddr = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._out_of_descriptors(listening, error)
                return
            accepted.setblocking(False)
            self._admit(accepted, sockaddr[0], self._listening[listening])

    def _out_of_descriptors(self, listening: socket.socket, error: OSError) -> None:
        """The kernel gives us no more sockets: leave the newcomers in its queue for a moment, and make room."""
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            raise error
        log.warning("No file descriptors left for connections: %s", error)
        HTTP_CONNECTIONS_REFUSED.labels("descriptors").inc()
        self._evict()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(_PAUSE_WITHOUT_DESCRIPTORS, self._accept_again, listening)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _admit(self, accepted: socket.socket, remote: str, tls: ssl.SSLContext | None) -> None:
        proxied = bool(self._limits.trusted_proxies) and is_in(remote, self._limits.trusted_proxies)
        counted = counted_address(remote)
        if (limit := self._exceeded(counted, proxied)) is not None:
            HTTP_CONNECTIONS_REFUSED.labels(limit).inc()
            # A reset leaves nothing behind in the kernel.
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            accepted.close()
            return
        admission = Admission(self, remote, counted, proxied)
        self._admitted.add(admission)
        self._anonymous[admission] = None
        self._by_address[counted] = self._by_address.get(counted, 0) + 1
        HTTP_CONNECTIONS.inc()
        HTTP_CONNECTIONS_ANONYMOUS.inc()
        opening = asyncio.get_running_loop().create_task(self._open(admission, accepted, tls))
        admission.opening = opening
        # Not in the task itself: one that is cancelled before its first step never comes to its `finally`.
        opening.add_done_callback(lambda _: self._opening_ended(admission, accepted))

    def _exceeded(self, counted: str, proxied: bool) -> str | None:
        """The limit that forbids one more connection of this address, after making room where that is allowed."""
        limits = self._limits
        if not proxied and self._by_address.get(counted, 0) >= limits.max_per_address:
            return "address"
        if len(self._anonymous) >= limits.max_anonymous and not self._evict():
            return "anonymous"
        if len(self._admitted) >= limits.max_connections and not self._evict():
            return "total"
        return None

    def _evict(self) -> bool:
        """Close the oldest connection of a stranger for whom nobody works."""
        for admission in islice(self._anonymous, _EVICTION_SEARCH):
            if admission.evictable:
                HTTP_CONNECTIONS_REFUSED.labels("anonymous").inc()
                admission.abort()
                # Its slot is free now; the close itself takes a turn of the loop.
                self.release(admission)
                return True
        return False

    async def _open(self, admission: Admission, accepted: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        limits = self._limits
        connection = self._connect(admission)
        try:
            await loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=limits.handshake_seconds if tls else None,
                ssl_shutdown_timeout=limits.stall_seconds if tls else None,
            )
        except OSError as error:
            # TimeoutError, ssl.SSLError and ConnectionError are all among them.
            HTTP_CONNECTIONS_REFUSED.labels("handshake").inc()
            log.debug("No connection from %s: %r", admission.remote, error)
        finally:
            if connection.transport is None:
                connection.never_made()

    def _opening_ended(self, admission: Admission, accepted: socket.socket) -> None:
        admission.opening = None
        if admission.connection is None:
            # There is no connection that would tell of its end. Closing waits for the transport, if there is one.
            accepted.close()
            self.release(admission)

    # slots

    def known(self, admission: Admission) -> None:
        """Somebody has authenticated on it."""
        if admission in self._anonymous:
            del self._anonymous[admission]
            HTTP_CONNECTIONS_ANONYMOUS.dec()

    def release(self, admission: Admission) -> None:
        """Give the slot back; a second time does nothing."""
        if admission not in self._admitted:
            return
        self._admitted.remove(admission)
        HTTP_CONNECTIONS.dec()
        self.known(admission)
        left = self._by_address[admission.counted] - 1
        if left:
            self._by_address[admission.counted] = left
        else:
            del self._by_address[admission.counted]
        if not self._admitted:
            self._empty.set()

    def _sweep(self) -> None:
        """Cut connections that have been closing since the last round: their client does not take the last bytes."""
        for admission in self:
            if admission.transport is not None and admission.transport.is_closing():
                if admission.closing:
                    HTTP_CONNECTIONS_REFUSED.labels("stalled").inc()
                    admission.abort()
                admission.closing = True
        self._sweeping = asyncio.get_running_loop().call_later(self._limits.stall_seconds, self._sweep)
