"""How sockets end, and how they are kept alive until then.

docs/reference/websocket.md
"""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from clients.live.bounds import Bounds
from tests.builders.waiting import until
from tests.builders.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, Closed
from tests.clients.live.conftest import Person, Scene, bodies, send_request
from tests.clients.live.test_syncing import waits

Stage = Callable[..., Any]


async def test_heartbeats(stage: Stage) -> None:
    """When nothing is sent they come, with pings; who answers these stays."""
    scene = await stage(bounds=Bounds(heartbeat=0.02, pong=5))
    alice = await scene.person("alice")
    socket = await alice.connect()
    reading = asyncio.create_task(socket.receive())
    await until(lambda: socket.heartbeats > 5 and len(socket.pings) > 5, what="heartbeats come")
    await socket.say({"ping": 3})
    assert await reading == {"pong": 3}


async def test_a_client_that_answers_no_ping(stage: Stage) -> None:
    """Is not there any more."""
    scene = await stage(bounds=Bounds(heartbeat=0.02, pong=0.1))
    alice = await scene.person("alice")
    socket = await alice.connect()
    socket.answers_pings = False
    assert (await socket.closed()).code == 4408


@pytest.mark.parametrize("number", [0, 1, -5, 2**53, 10**30, 1.5])
async def test_pings_of_the_client(stage: Stage, number: float) -> None:
    """In JSON, for code in browsers, and as frames."""
    scene = await stage()
    socket = await (await scene.person("alice")).connect()
    await socket.frame(TEXT, b'{"ping":%b}' % str(number).encode())
    assert await socket.told("pong") == float(number)
    await socket.frame(PING, b"hello")
    await socket.say({"ping": 1})
    await socket.told("pong")
    assert socket.pongs == [b"hello"]


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"5",
    b'"text"',
    b"\xff\xfe",
    b"{}",
    b'{"id":5,"sync":{}}',
    b'{"id":null,"sync":{}}',
    b'{"sync":{}}',
    b'{"ping":"x"}',
    b'{"ping":true}',
    b'{"what":1}',
    b'{"id":"a","id":"b"}',
    b'{"id":"%b","sync":{}}' % (b"x" * 65),
    b"[" * 50_000,
    b'{"id":"a","sync":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    b'{"id":"\\ud800","sync":{}}',
    b'{"id":"a","n":1e999}',
]


@pytest.mark.parametrize("message", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_cannot_be_answered(stage: Stage, message: bytes) -> None:
    """No JSON, no object, no id: closed with 4400."""
    scene = await stage()
    socket = await (await scene.person("alice")).connect()
    await socket.frame(TEXT, message)
    assert (await socket.closed()).code == 4400


async def test_binary(stage: Stage) -> None:
    """Frames are text."""
    scene = await stage()
    socket = await (await scene.person("alice")).connect()
    await socket.frame(BINARY, b"{}")
    assert (await socket.closed()).code == 4400


@pytest.mark.parametrize(
    "frame",
    [{}, {"what": 1}, {"sync": {}, "request": {}}, {"cancel": 1}, {"cancel": False}, {"hello": {}}, {"ping": 1}],
)
async def test_unknown_frames(stage: Stage, frame: dict[str, Any]) -> None:
    """With an id they are answered, and the socket goes on."""
    scene = await stage()
    socket = await (await scene.person("alice")).connect()
    for _ in range(2):
        answer = await socket.ask(id="same", **frame)
        assert (answer.status, answer.body["errcode"]) == (400, "M_UNRECOGNIZED")


async def test_an_id_twice(stage: Stage) -> None:
    """While the first is unanswered nobody could tell the answers apart."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    await socket.begin("same", sync=alice.sync())
    await waits(scene)
    await socket.begin("same", request=send_request(room, "t"))
    assert (await socket.closed()).code == 4400


async def test_an_id_again(stage: Stage) -> None:
    """Once it is answered an id may be used again; sixty-four characters are not too long."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    for _ in range(3):
        assert (await socket.ask(id="ü" * 64, request=send_request(room, "t"))).status == 200


async def test_the_client_says_goodbye(stage: Stage) -> None:
    """It is answered, whatever was under way."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    await socket.begin(sync=alice.sync())
    await socket.begin(request=send_request(room, "t"))
    await socket.goodbye()
    assert (await socket.closed()).code == 1000
    await until(lambda: not len(scene.served.sockets), what="the socket is gone")


@pytest.mark.parametrize("size", [2**20 - 100, 2**20 + 1])
@pytest.mark.parametrize("pieces", [1, 100])
async def test_the_size_of_a_message(stage: Stage, size: int, pieces: int) -> None:
    """A megabyte at most, all fragments together."""
    scene = await stage()
    socket = await (await scene.person("alice")).connect()
    frame = {"id": "a", "what": ""}
    frame["what"] = "x" * (size - len(orjson.dumps(frame)))
    message = orjson.dumps(frame)
    step = -(-len(message) // pieces)
    parts = [message[start : start + step] for start in range(0, len(message), step)]
    with_end = [(TEXT if not place else CONTINUATION, part, place == pieces - 1) for place, part in enumerate(parts)]
    for opcode, part, fin in with_end:
        try:
            await socket.frame(opcode, part, fin=fin)
        except ConnectionError:
            break
    if size > 2**20:
        assert (await socket.closed()).code in (1009, 1006)
    else:
        assert (await socket.answer("a")).status == 400


async def test_a_stalled_reader(stage: Stage) -> None:
    """Who takes no byte while much waits is left; nothing of it counts as told, and the token stays good."""
    scene = await stage(bounds=Bounds(stall=0.5, stalled_bytes=200_000))
    alice, bob, room = await scene.pair()
    words = await much(bob, room)
    socket = await alice.connect(buffer=65_536)
    await socket.begin(sync=alice.sync(filter={"room": {"timeline": {"limit": 100}}}))
    await until(lambda: not len(scene.served.sockets), what="the socket is given up")
    assert (await socket.closed()).code in (4408, 1006)
    again = await alice.connect()
    answer = await again.ask(sync=alice.sync(filter={"room": {"timeline": {"limit": 100}}}))
    assert bodies(answer.body, room) == words


async def test_a_slow_reader_that_moves(stage: Stage) -> None:
    """However long it takes, it is served to the end, and may ask beside."""
    scene = await stage(bounds=Bounds(stall=0.5, stalled_bytes=100_000, heartbeat=0.1, pong=0.3))
    alice, bob, room = await scene.pair()
    words = await much(bob, room)
    socket = await alice.connect(buffer=100_000)
    id = await socket.begin(sync=alice.sync(filter={"room": {"timeline": {"limit": 100}}}))
    await until(lambda: scene.served.sockets.waiting > 1_000_000, what="much waits")
    await socket.begin("beside", request=send_request(room, "t"))
    reader = Sip(socket)
    answer = await reader.answer(id)
    assert bodies(answer, room) == words
    assert (await socket.answer("beside")).status == 200


class Sip:
    """Reads little by little: the server's time-out passes several times until it is through."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def answer(self, id: str) -> dict[str, Any]:
        whole = self._socket._reader.readexactly

        async def little(size: int) -> bytes:
            got = b""
            while len(got) < size:
                got += await whole(min(20_000, size - len(got)))
                await asyncio.sleep(0.004)
            return got

        self._socket._reader.readexactly = little
        try:
            return dict((await self._socket.answer(id)).body)
        finally:
            self._socket._reader.readexactly = whole


async def much(person: Person, room: str) -> list[str]:
    """Says four megabytes."""
    words = [f"{number:02}" + "x" * 50_000 for number in range(80)]
    for number, text in enumerate(words):
        await person.http.send(room, text, txn=f"much{number}")
    return words


async def test_the_server_stops(stage: Stage) -> None:
    """It says when to come back, answers the request under way, and closes with 1001; nothing is done twice."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket, idle, stranger = await alice.connect(), await bob.connect(), await alice.open()
    await socket.begin(sync=alice.sync())
    await waits(scene)
    await socket.begin("r", request=send_request(room, "t", "once"))
    await until(lambda: scene.served.house.services.sync is not None)
    stopping = asyncio.create_task(scene.served.server.drain(5))
    for one in (socket, idle, stranger):
        assert 1_000 <= (await one.told("bye"))["retry_ms"] <= 10_000
        assert (await one.closed()).code == 1001
    await stopping
    assert not len(scene.served.sockets)


async def test_a_stop_with_somebody_who_does_not_read(stage: Stage) -> None:
    """Waits no longer than it takes to say goodbye."""
    scene = await stage(bounds=Bounds(goodbye=0.2))
    alice, bob, room = await scene.pair()
    await much(bob, room)
    socket = await alice.connect(buffer=65_536)
    await socket.begin(sync=alice.sync(filter={"room": {"timeline": {"limit": 100}}}))
    await until(lambda: scene.served.sockets.waiting > 1_000_000, what="much waits")
    await scene.served.server.drain(5)
    assert not len(scene.served.sockets)


async def test_a_line_that_breaks(stage: Stage) -> None:
    """With everything under way: nothing is left of it."""
    scene: Scene = await stage()
    alice, _, room = await scene.pair()
    for _ in range(5):
        socket = await alice.connect()
        await socket.begin(sync=alice.sync())
        await socket.begin(request=send_request(room, "t"))
        socket.cut()
    await until(lambda: not len(scene.served.sockets), what="the sockets are gone")
    socket = await alice.connect()
    assert (await socket.ask(request=send_request(room, "t"))).status == 200
    assert bodies((await socket.ask(sync=alice.sync(timeout=0))).body, room) == ["Hey"]


async def test_an_empty_close(stage: Stage) -> None:
    """A close without a code is one too."""
    scene = await stage()
    socket = await (await scene.person("alice")).connect()
    await socket.frame(CLOSE)
    closed: Closed = await socket.closed()
    assert closed.code in (1000, 1005)
