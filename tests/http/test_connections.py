"""Connections that cost us something and give nothing: counted, timed, pushed out."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
import ssl
import struct
from collections import deque
from dataclasses import dataclass
from typing import cast

import pytest
import trustme

from homeserver.http.acceptor import Acceptor, Admission
from homeserver.http.answers import Answer
from homeserver.http.connection import Connection, Exchange
from homeserver.http.limits import ServerLimits
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.http.server import HttpServer
from tests.http.driver import Line, Starter, port_of, request, until


async def who(request: Request) -> Answer:
    """Authenticates whoever has a header for it, as a door does."""
    if request.header("Authorization"):
        request.context = "@alice:localhost"
    return Answer()


async def take(request: Request) -> Answer:
    await request.json_object()
    return Answer()


async def much(request: Request) -> Answer:
    return Answer(200, b" " * 64 * 1024**2)


ROUTES = [Route("GET", "/who", who), Route("POST", "/take", take), Route("GET", "/much", much)]


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and the context of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


# heads


@pytest.mark.parametrize("sent", [b"", b"GET /who HT", b"GET /who HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n"])
async def test_attack_57_a_slow_head_is_given_up(start: Starter, sent: bytes) -> None:
    """Whoever connects has so long for a whole head, however far it came."""
    server = await start(ROUTES, limits=ServerLimits(head_seconds=0.1))
    line = await Line.to(server)
    await line.send(sent)
    assert await line.ended() == b""
    await until(lambda: server.open_connections == 0)


async def test_attack_57_a_slow_second_head_is_given_up(start: Starter) -> None:
    """A first good request buys no time for the next head, nor does a trickle of bytes."""
    line = await Line.to(await start(ROUTES, limits=ServerLimits(head_seconds=0.2)))
    assert (await line.ask("GET", "/who")).status == 200
    await line.send(b"GET /who HTTP/1.1\r\nHost: a\r\nX: ")
    ending = asyncio.create_task(line.ended())
    try:
        async with asyncio.timeout(20):
            while not ending.done():
                await line.send(b"G")
                await asyncio.wait([ending], timeout=0.01)
    except ConnectionError:
        pass
    assert await ending == b""


async def test_an_idle_connection_is_closed(start: Starter) -> None:
    """Between two requests a client may rest, but not for ever."""
    line = await Line.to(await start(ROUTES, limits=ServerLimits(keepalive_seconds=0.1)))
    assert (await line.ask("GET", "/who")).status == 200
    assert await line.ended() == b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET /who HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /who HTTP/1.1\r\nHost: a\r\n" + b"a" * 100_000 + b": b\r\n\r\n", 431),
        (b"GET /who HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", 400),
    ],
)
async def test_header_bombs_are_refused(start: Starter, head: bytes, status: int) -> None:
    """Long lines, long headers and many headers end the connection with an answer."""
    line = await Line.to(await start(ROUTES))
    line.writer.write(head)
    answer = await line.response()
    assert answer.status == status
    assert answer.errcode in ("M_TOO_LARGE", "M_UNKNOWN")
    await line.ended()


async def test_an_endless_head_is_refused(start: Starter) -> None:
    """Each header is small and there are few: the head as a whole has a limit too, whatever the pieces."""
    line = await Line.to(await start(ROUTES, limits=ServerLimits(max_headers=10_000)))
    await line.send(b"GET /who HTTP/1.1\r\nHost: a\r\n")
    answering = asyncio.create_task(line.response())
    try:
        async with asyncio.timeout(20):
            while not answering.done() and line.sent < 10 * 1024**2:
                await line.send(b"X: " + b"a" * 1000 + b"\r\n")
                await asyncio.wait([answering], timeout=0.001)
    except ConnectionError:
        pass
    answer = await answering
    assert (answer.status, answer.errcode) == (431, "M_TOO_LARGE")
    assert line.sent < 1024**2
    line.close()


# TLS handshakes


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_attack_57_a_half_open_handshake_is_given_up(
    start: Starter, tls: tuple[ssl.SSLContext, ssl.SSLContext], sent: bytes
) -> None:
    """A socket without a finished handshake is counted from the start, and closed when its time is over."""
    server = await start(ROUTES, limits=ServerLimits(handshake_seconds=0.2), tls=tls[0])
    line = await Line.to(server)
    await line.send(sent)
    await until(lambda: server.open_connections == 1)
    assert await line.ended() == b""
    await until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\x00" * 1000])
async def test_what_is_no_handshake_is_closed_quietly(
    start: Starter, tls: tuple[ssl.SSLContext, ssl.SSLContext], caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """Scanners talk anything to a TLS port: it ends there, and the log says nothing above DEBUG."""
    server = await start(ROUTES, tls=tls[0])
    for _ in range(3):
        line = await Line.to(server)
        await line.send(sent)
        await line.ended()
    line = await Line.to(server)
    line.close()
    await until(lambda: server.open_connections == 0)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_requests_over_tls(start: Starter, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The same server behind a certificate, with a body and an answer larger than a TLS record."""
    server = await start(ROUTES, tls=tls[0])
    line = await Line.to(server, tls[1])
    assert (await line.ask("GET", "/who")).status == 200
    assert (await line.ask("POST", "/take", b'{"a":"' + b"x" * 100_000 + b'"}')).status == 200
    assert len((await line.ask("GET", "/much")).body) == 64 * 1024**2
    line.close()


# numbers


async def refused(server: HttpServer) -> bool:
    """Whether a newcomer is closed without a word; the reset may come before its first step."""
    try:
        return await (await Line.to(server)).ended() == b""
    except ConnectionError:
        return True


async def test_one_address_has_a_bound(start: Starter) -> None:
    """The connection beyond it is reset; a place that is given back is free again."""
    server = await start(ROUTES, limits=ServerLimits(max_per_address=2))
    lines = [await Line.to(server) for _ in range(2)]
    for line in lines:
        assert (await line.ask("GET", "/who")).status == 200
    assert await refused(server)
    lines[0].close()
    await until(lambda: server.open_connections == 1)
    line = await Line.to(server)
    assert (await line.ask("GET", "/who")).status == 200
    lines[1].close()
    line.close()


async def test_strangers_make_room_for_newcomers(start: Starter) -> None:
    """The oldest anonymous connection goes; one on which somebody has authenticated stays."""
    server = await start(ROUTES, limits=ServerLimits(max_anonymous=3))
    alice = await Line.to(server)
    assert (await alice.ask("GET", "/who", Authorization="Bearer x")).status == 200
    strangers = []
    for _ in range(4):
        strangers.append(await Line.to(server))
        assert (await strangers[-1].ask("GET", "/who")).status == 200
    assert await strangers[0].ended() == b""
    for line in [alice, *strangers[1:]]:
        assert (await line.ask("GET", "/who")).status == 200
        line.close()


async def test_whoever_is_being_served_is_not_pushed_out(start: Starter) -> None:
    """A connection with a request in work keeps its place: then the newcomer is refused."""
    go_on = asyncio.Event()

    async def wait(request: Request) -> Answer:
        await go_on.wait()
        return Answer()

    server = await start([Route("GET", "/wait", wait)], limits=ServerLimits(max_anonymous=1))
    line = await Line.to(server)
    await line.send(request("GET", "/wait"))
    await until(lambda: server.requests_in_flight == 1)
    assert await refused(server)
    go_on.set()
    assert (await line.response()).status == 200
    line.close()


async def test_a_body_that_does_not_come_is_pushed_out(start: Starter) -> None:
    """Waiting for a stranger's bytes is no work."""
    server = await start(ROUTES, limits=ServerLimits(max_anonymous=1))
    slow = await Line.to(server)
    await slow.send(request("POST", "/take", None, Content_Length="100"))
    await until(lambda: server.requests_in_flight == 1)
    line = await Line.to(server)
    assert (await line.ask("GET", "/who")).status == 200
    assert await slow.ended() == b""
    line.close()


async def test_a_full_house_refuses(start: Starter) -> None:
    """With no stranger left to push out, the newcomer is."""
    server = await start(ROUTES, limits=ServerLimits(max_connections=2))
    lines = [await Line.to(server) for _ in range(2)]
    for line in lines:
        await line.ask("GET", "/who", Authorization="Bearer x")
    assert await refused(server)
    for line in lines:
        line.close()


async def test_a_client_that_takes_nothing_is_cut_off(start: Starter) -> None:
    """An answer of 64 MiB does not wait in our memory for a client that does not read it."""
    server = await start(ROUTES, limits=ServerLimits(stall_seconds=0.2))
    line = await Line.to(server)
    cast(asyncio.Transport, line.writer.transport).pause_reading()
    await line.send(request("GET", "/much"))
    await until(lambda: server.requests_in_flight == 1)
    await until(lambda: server.open_connections == 0)
    line.close()


class Hanging(asyncio.Transport):
    """A transport that has been closing for ever, until it is aborted."""

    def __init__(self, real: asyncio.Transport) -> None:
        super().__init__()
        self._real = real

    def is_closing(self) -> bool:
        return True

    def abort(self) -> None:
        self._real.abort()


class Silent(asyncio.Protocol):
    """A connection whose transport hangs."""

    evictable = False

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._admission.opened(cast(Connection, self), Hanging(cast(asyncio.Transport, transport)))

    def connection_lost(self, error: BaseException | None) -> None:
        self._admission.released()


async def test_a_close_that_hangs_is_cut() -> None:
    """The last bytes of an answer wait for a client that takes none: closing must not wait with them."""
    acceptor = Acceptor(lambda admission: cast(Connection, Silent(admission)), ServerLimits(stall_seconds=0.05))
    acceptor.listen("127.0.0.1", 0, None)
    with socket.create_connection(acceptor.addresses[0]):
        await until(lambda: acceptor.open_connections == 1)
        await until(lambda: acceptor.open_connections == 0)
    acceptor.stop_listening()
    await acceptor.abort()


async def test_running_out_of_descriptors_is_survived(start: Starter, caplog: pytest.LogCaptureFixture) -> None:
    """Newcomers wait in the kernel's queue until there are descriptors again; nobody else notices."""
    server = await start(ROUTES)
    alice = await Line.to(server)
    assert (await alice.ask("GET", "/who", Authorization="Bearer x")).status == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    with socket.socket() as newcomer:
        resource.setrlimit(resource.RLIMIT_NOFILE, (newcomer.fileno() + 1, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.dup(newcomer.fileno()))
            newcomer.connect(("127.0.0.1", port_of(server)))
            newcomer.sendall(request("GET", "/who"))
            assert (await alice.ask("GET", "/who")).status == 200
            assert server.open_connections == 1
        finally:
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: server.open_connections == 2)
        assert "No file descriptors left" in caplog.text


# the flood

FLOOD = int(os.environ.get("PARLEY_FLOOD", "20000"))  # `make soak` opens a million
HELD = 1_500
STRANGERS = 200
BATCH = 50
RESET = struct.pack("ii", 1, 0)


@dataclass
class Flood:
    """Strangers who open connections of every annoying kind and hold on to the last `HELD` of them."""

    plain: int
    secure: int

    def __post_init__(self) -> None:
        self.held: deque[socket.socket] = deque()

    def open(self, number: int) -> None:
        port = self.secure if number % 5 in (2, 3) else self.plain
        caller = socket.create_connection(("127.0.0.1", port))
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        caller.sendall(
            [
                b"GET /who HTTP/1.1\r\nHost: a\r\nX-Half: ",
                request("POST", "/take", None, Content_Length="1000") + b"{",
                b"\x16\x03\x01\x02\x00",
                b"",
                request("GET", "/who"),
            ][number % 5]
        )
        self.held.append(caller)
        if number % 7 == 0 or len(self.held) > HELD:
            self.held.popleft().close()

    def close(self) -> None:
        while self.held:
            self.held.pop().close()


def live_objects() -> int:
    """How many objects there are that connections consist of."""
    gc.collect()
    kinds = (Admission, Connection, Exchange, Request, asyncio.StreamReader, asyncio.Task, ssl.SSLObject)
    return sum(isinstance(candidate, kinds) for candidate in gc.get_objects())


@pytest.fixture
def many_descriptors() -> None:
    """Both ends of the flood live in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 8192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))


async def test_attack_57_memory_is_flat_after_20_000_anonymous_connections(
    start: Starter, tls: tuple[ssl.SSLContext, ssl.SSLContext], many_descriptors: None
) -> None:
    """Half heads, half bodies, half handshakes, idlers: no more of them live than the limit says, none afterwards,
    and somebody who is logged in is served all the while."""
    patient = ServerLimits(
        max_anonymous=STRANGERS, max_per_address=10_000, head_seconds=600, handshake_seconds=600, body_grace_seconds=600
    )
    servers: list[HttpServer] = [await start(ROUTES, limits=patient), await start(ROUTES, limits=patient, tls=tls[0])]
    alice = await Line.to(servers[0])
    await alice.ask("GET", "/who", Authorization="Bearer x")
    before = live_objects()
    flood = Flood(port_of(servers[0]), port_of(servers[1]))
    for first in range(0, FLOOD, BATCH):
        for number in range(first, first + BATCH):
            flood.open(number)
        for _ in range(3):
            assert (await alice.ask("GET", "/who")).status == 200
        for server in servers:
            assert server.open_connections <= STRANGERS + 1
        if first % (FLOOD // 4) == 0:
            # A connection is an admission, a Connection, its task and readers; those being closed take a turn or two.
            assert live_objects() - before < 2 * (STRANGERS + 2 * BATCH) * 6
    flood.close()
    await until(lambda: [server.open_connections for server in servers] == [1, 0])
    for _ in range(3):
        assert (await alice.ask("GET", "/who")).status == 200
    assert live_objects() - before <= 10
    alice.close()
