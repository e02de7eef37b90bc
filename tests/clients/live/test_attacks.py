"""What somebody with bad intentions tries on a WebSocket, and what comes of it.

docs/reference/websocket.md
"""

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from clients.live.bounds import Bounds
from tests.builders.waiting import until
from tests.builders.websocket import CONTINUATION, PING, PONG, PROTOCOL, TEXT, Refused, masked
from tests.clients.live.conftest import send_request
from tests.conformance.client import v3

Stage = Callable[..., Any]


async def test_a_token_in_the_query(stage: Stage) -> None:
    """Queries stand in logs: there a token is none, and nobody is greeted for it."""
    scene = await stage(bounds=Bounds(first_auth=0.05))
    alice = await scene.person("alice")
    socket = await alice.open(query=f"?access_token={quote(alice.http.token)}")
    assert (await socket.closed()).code == 4401


async def test_a_token_is_never_echoed_or_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the answer to the handshake nor in any line of any log, at any level."""
    caplog.set_level("DEBUG")
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.connect(browser=True)
    await socket.ask(auth={"token": "another-secret"})
    await socket.say({"ping": 1})
    await socket.told("pong")
    said = str(dict(socket.headers)) + caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for secret in (alice.http.token, "bearer.", "another-secret"):
        assert secret not in said


async def test_another_origin(stage: Stage) -> None:
    """With origins set, pages of others are refused before anything else; programs without an origin are not."""
    scene = await stage(origins=("https://chat.example.org", "https://other.example.org:8443"))
    alice = await scene.person("alice")
    for origin in ("https://evil.example", "null", "https://chat.example.org.evil.example", "http://chat.example.org"):
        with pytest.raises(Refused) as refused:
            await alice.open(alice.http.token, browser=True, headers={"Origin": origin})
        assert (refused.value.status, refused.value.body["errcode"]) == (403, "M_FORBIDDEN")
    await alice.connect(browser=True, headers={"Origin": "https://chat.example.org"})
    await alice.connect(browser=True, headers={"Origin": "https://OTHER.example.org:8443"})
    await alice.connect()


async def test_thirty_three_sockets(stage: Stage) -> None:
    """A user has thirty-two, whatever their devices: one more closes the oldest, and no other."""
    scene = await stage()
    alice = await scene.person("alice")
    devices = [alice, *[await scene.device(alice) for _ in range(8)]]
    sockets = [await devices[number // 4].connect() for number in range(32)]
    sockets.append(await devices[8].connect())
    assert (await sockets[0].closed()).code == 4409
    for socket in sockets[1:]:
        await socket.say({"ping": 1})
        assert await socket.told("pong") == 1
    await until(lambda: len(scene.served.sockets) == 32, what="thirty-two are left")


async def test_strangers(stage: Stage) -> None:
    """Of one address a few may be open without a token; who has a good one still gets in."""
    scene = await stage(bounds=Bounds(strangers_per_address=3))
    alice = await scene.person("alice")
    strangers = [await alice.open(), await alice.open("nonsense"), await alice.open()]
    for token in (None, "nonsense"):
        with pytest.raises(Refused) as refused:
            await alice.open(token)
        assert refused.value.status == 429
    await alice.connect()
    assert (await strangers[0].ask(auth={"token": alice.http.token})).status == 200
    await alice.open()


async def test_a_large_first_frame(stage: Stage) -> None:
    """Strangers may say four kilobytes."""
    scene = await stage()
    alice = await scene.person("alice")
    for socket in (await alice.open(), await alice.open("nonsense")):
        await socket.begin(auth={"token": "x" * 5_000})
        assert (await socket.closed()).code == 1009


async def test_guessing_tokens(stage: Stage) -> None:
    """Costs the address, as over HTTP."""
    scene = await stage(limits=True, rows={"general_address": {"per_second": 0.01, "burst": 30}})
    alice = await scene.person("alice")
    socket = await alice.open("nonsense")
    answers = [(await socket.ask(auth={"token": f"guess{number}"})).status for number in range(40)]
    assert answers[0] == 401
    assert answers[-1] == 429


@pytest.mark.parametrize("query", [{"user_id": "@bob:test.example"}, {"access_token": "x"}, {"user_id": ["a", "b"]}])
async def test_masquerading(stage: Stage, query: dict[str, Any]) -> None:
    """Who asks stands in the token alone: neither the query nor a query in the path says something else."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    answer = await socket.ask(request={**send_request(room, "t1"), "query": query})
    assert answer.status == 400
    path = v3("rooms", room, "send", "m.room.message", "t1")
    for smuggled in (f"{path}?user_id={quote(bob.user_id)}", f"{path}?access_token={bob.http.token}", f"{path}#x"):
        answer = await socket.ask(request={"method": "PUT", "path": smuggled, "body": {}})
        assert answer.status == 400
    typing = {"method": "PUT", "path": v3("rooms", room, "typing", bob.user_id), "body": {"typing": True}}
    assert (await socket.ask(request=typing)).status == 403
    assert (await socket.ask(request=send_request(room, "t1"))).status == 200
    page = await alice.http.messages(room, limit=1)
    assert page["chunk"][0]["sender"] == alice.user_id


BOMBS: dict[str, list[bytes]] = {
    "declared": [masked(TEXT, b"")[:1] + b"\xff" + (2**62).to_bytes(8) + b"mask"],
    "unmasked": [masked(TEXT, b'{"ping":1}', mask=False)],
    "reserved bits": [masked(TEXT, b"{}", rsv=4)],
    "reserved opcode": [masked(5, b"{}")],
    "reserved control": [masked(12, b"")],
    "fragmented control": [masked(PING, b"x", fin=False)],
    "long control": [masked(PING, b"x" * 126)],
    "continuation of nothing": [masked(CONTINUATION, b"x")],
    "text within text": [masked(TEXT, b"x", fin=False), masked(TEXT, b"x")],
    "not minimal": [b"\x81\xfe\x00\x01mask\x00"],
    "close with half a code": [masked(8, b"\x03")],
    "close with a forbidden code": [masked(8, b"\x03\xed")],
    "close with no text": [masked(8, b"\x03\xe8\xff\xff")],
    "fragments of one byte": [masked(TEXT, b"x", fin=False), *[masked(CONTINUATION, b"x", fin=False)] * 10_000],
    "fragments of nothing": [masked(TEXT, b"", fin=False), *[masked(CONTINUATION, b"", fin=False)] * 10_000],
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_frames_that_break_the_protocol(stage: Stage, bomb: str) -> None:
    """Whoever sends them is closed, a stranger or not, and others do not notice."""
    scene = await stage()
    alice = await scene.person("alice")
    quiet = await alice.connect()
    for socket in (await alice.open(), await alice.connect()):
        socket.write(b"".join(BOMBS[bomb]))
        assert (await socket.closed()).code in (1006, 1009, 4400)
    await quiet.say({"ping": 1})
    assert await quiet.told("pong") == 1


@pytest.mark.parametrize("reads", [True, False])
async def test_floods(stage: Stage, reads: bool) -> None:
    """Pings of both kinds, unknown frames, requests without an end, from somebody who reads and from somebody who does
    not: memory is bounded, and others are served meanwhile."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    other = await bob.connect()
    socket = await alice.connect(**({} if reads else {"buffer": 4_096}))
    pings = masked(PING, b"x" * 125) * 50 + masked(PONG, b"y" * 125) * 50 + masked(TEXT, b'{"ping":1}') * 100
    flood = pings + b"".join(masked(TEXT, b'{"id":"u%d","what":1}' % number) for number in range(100))
    reading = asyncio.create_task(socket.closed()) if reads else None
    tracemalloc.start()
    try:
        for number in range(200):
            socket.write(flood)
            if number % 20 == 0:
                await other.say({"ping": number})
                assert await other.told("pong") == number
        await until(lambda: socket._writer.transport.get_write_buffer_size() == 0 or not reads)
        taken = [stat.size for stat in tracemalloc.take_snapshot().statistics("filename") if "/live/" in str(stat)]
        assert sum(taken) < 4_000_000
    finally:
        tracemalloc.stop()
    assert (await other.ask(request=send_request(room, "t"))).status == 200
    socket.cut()
    if reading is not None:
        await reading


async def test_half_a_connection(stage: Stage) -> None:
    """Whoever closes their sending side has gone."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.connect()
    socket.half_close()
    assert (await socket.closed()).code == 1006
    await until(lambda: not len(scene.served.sockets), what="the socket is gone")


async def test_a_socket_is_no_way_around_http(stage: Stage) -> None:
    """HTTP behind the handshake is not served as HTTP."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.connect()
    socket.write(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await socket.closed()).code == 1006


async def test_many_subprotocols(stage: Stage) -> None:
    """Only ours is selected; of several tokens the first counts."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.open(headers={"Sec-WebSocket-Protocol": f"graphql-ws, {PROTOCOL}, bearer.eA, bearer.eQ"})
    assert (await socket.told("error"))["status"] == 401
    assert socket.headers["sec-websocket-protocol"] == PROTOCOL
