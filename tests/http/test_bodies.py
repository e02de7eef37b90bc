"""Bodies that are too large, too slow, compressed, broken, or no JSON."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.http.limits import ServerLimits
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.http.server import HttpServer
from tests.http.driver import Line, Starter, request

LIMIT = 64 * 1024


async def take(request: Request) -> Mapping[str, Any]:
    return {"keys": len(await request.json_object())}


async def take_strictly(request: Request) -> Mapping[str, Any]:
    return {"keys": len(await request.json_object(strict=True))}


async def take_or_leave(request: Request) -> Mapping[str, Any]:
    return {"keys": len(await request.json_object_or_empty())}


async def measure(request: Request) -> Mapping[str, Any]:
    return {"bytes": len(await request.body())}


ROUTES = [
    Route("POST", "/take", take, body_limit=LIMIT),
    Route("POST", "/take-much", take, body_limit=32 * 1024 * 1024),
    Route("POST", "/take-strictly", take_strictly, body_limit=32 * 1024 * 1024),
    Route("POST", "/take-or-leave", take_or_leave),
    Route("POST", "/measure", measure, body_limit=LIMIT),
]

HUGE = str(1024**3)


async def serve(start: Starter, **limits: float) -> HttpServer:
    return await start(ROUTES, limits=ServerLimits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data; boundary=x", 415),
        ("image/png", 415),
        ("application/xml", 415),
        ("application/json", 413),
        ("text/plain", 413),
    ],
)
async def test_attack_37_a_gigabyte_is_refused_before_it_is_sent(
    start: Starter, content_type: str, status: int
) -> None:
    """The head alone is enough for 415 or 413; then the connection ends instead of taking the rest."""
    line = await Line.to(await serve(start, linger_seconds=0.1))
    await line.send(request("POST", "/take", None, Content_Type=content_type, Content_Length=HUGE))
    answer = await line.response()
    assert answer.status == status
    assert answer.errcode == ("M_TOO_LARGE" if status == 413 else "M_NOT_JSON")
    assert answer.headers["connection"] == "close"
    assert await line.ended() == b""


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
async def test_attack_37_an_endless_body_is_refused_while_it_comes(start: Starter, content_type: str) -> None:
    """Without a declared length the bytes are counted: the client is refused long before its gigabyte is through."""
    line = await Line.to(await serve(start, linger_seconds=0.1))
    await line.send(request("POST", "/take", None, Content_Type=content_type, Transfer_Encoding="chunked"))
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answering = asyncio.create_task(line.response())
    try:
        async with asyncio.timeout(20):
            while not answering.done() and line.sent < 1024**3:
                await line.send(piece)
    except ConnectionError:
        pass
    answer = await answering
    assert answer.status == (413 if content_type == "application/json" else 415)
    # What the kernel's buffers hold may have left the client; the server has taken its limit and a little more.
    assert line.sent < 64 * 1024**2
    line.close()


@pytest.mark.parametrize("path", ["/take", "/measure", "/take-or-leave"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x"])
async def test_attack_38_compressed_requests_are_refused(start: Starter, path: str, encoding: str) -> None:
    """415 without unfolding a byte: a gigabyte of zeros is a megabyte on the wire."""
    line = await Line.to(await serve(start))
    bomb = gzip.compress(b"{}" + b" " * 1024 * 1024)
    answer = await line.ask("POST", path, bomb, Content_Type="application/json", Content_Encoding=encoding)
    assert answer.status == 415
    assert (await line.ask("POST", "/take", b"{}", Content_Encoding="identity")).status == 200
    line.close()


async def test_attack_38_answers_are_never_compressed(start: Starter) -> None:
    """Whatever a client accepts: the length of an answer must not tell what secrets stand in it."""
    line = await Line.to(await serve(start))
    answer = await line.ask("POST", "/take", b'{"a":1}', Accept_Encoding="gzip, deflate, br, zstd")
    assert "content-encoding" not in answer.headers
    assert answer.json == {"keys": 1}
    line.close()


async def test_a_body_over_the_limit_still_gets_its_answer(start: Starter) -> None:
    """The connection is held open for a moment, so that a client in the middle of sending can read why it must stop."""
    line = await Line.to(await serve(start))
    answer = await line.ask("POST", "/take", b" " * 64 * 1024**2)
    assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE")
    line.close()


DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
WIDE = b"{" + b",".join(b'"%d":%d' % (key, key) for key in range(1_000_000)) + b"}"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("deep objects", DEEP),
        ("deep arrays", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        ("unclosed arrays", b'{"a":' + b"[" * 60_000),
        ("a million keys", WIDE),
        ("duplicate keys", b'{"a":1,"a":2}'),
        ("a lone surrogate", b'{"a":"\\ud800"}'),
        ("NaN", b'{"a":NaN}'),
        ("Infinity", b'{"a":-Infinity}'),
        ("1e400", b'{"a":1e400}'),
        ("ten thousand digits", b'{"a":' + b"9" * 10_000 + b"}"),
        ("invalid UTF-8", b'{"a":"\xff"}'),
        ("encoded as UTF-16", '{"a":1}'.encode("utf-16")),
        ("a raw NUL", b'{"a":"\x00"}'),
        ("an array", b"[]"),
        ("a string", b'"a"'),
        ("null", b"null"),
        ("nothing", b""),
        ("a form", b"a=b&c=d"),
        ("two objects", b"{}{}"),
    ],
)
@pytest.mark.parametrize("path", ["/take-much", "/take-strictly"])
async def test_attack_04_hostile_json_is_a_4xx(start: Starter, path: str, name: str, body: bytes) -> None:
    """Answered with a Matrix error, and the server goes on with the next request."""
    line = await Line.to(await serve(start))
    answer = await line.ask("POST", path, body, Content_Type="application/json")
    assert 400 <= answer.status < 500, name
    assert answer.errcode in ("M_NOT_JSON", "M_BAD_JSON")
    assert (await line.ask("POST", path, b'{"a":1}')).json == {"keys": 1}
    line.close()


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "Application/JSON; charset=utf-8", "text/plain", "application/x-www-form-urlencoded",
     "application/octet-stream", "application/vnd.example+json", ""],
)  # fmt: skip
async def test_json_is_taken_under_the_names_that_clients_give_it(start: Starter, content_type: str | None) -> None:
    """ "Clients should supply a Content-Type header ... but this is not required": curl -d must work."""
    line = await Line.to(await serve(start))
    headers = {} if content_type is None else {"Content_Type": content_type}
    assert (await line.ask("POST", "/take", b'{"a":1}', **headers)).json == {"keys": 1}
    line.close()


async def test_an_optional_body_may_be_missing(start: Starter) -> None:
    """No body, an empty one, and white space are the empty object; anything else must be JSON."""
    line = await Line.to(await serve(start))
    for body in (None, b"", b" \r\n"):
        assert (await line.ask("POST", "/take-or-leave", body)).json == {"keys": 0}
    assert (await line.ask("POST", "/take-or-leave", b'{"a":1}')).json == {"keys": 1}
    assert (await line.ask("POST", "/take-or-leave", b"x")).errcode == "M_NOT_JSON"
    line.close()


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_limit_is_exact(start: Starter, size: int, status: int, chunked: bool) -> None:
    """A body of exactly the limit passes, one byte more does not, declared or not."""
    line = await Line.to(await serve(start))
    body = b"x" * size
    if chunked:
        half = size // 2
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"
        answer = await line.ask("POST", "/measure", body, Transfer_Encoding="chunked")
    else:
        answer = await line.ask("POST", "/measure", body)
    assert answer.status == status
    assert answer.json == {"bytes": size} if status == 200 else answer.errcode == "M_TOO_LARGE"
    line.close()


async def test_a_client_that_asks_first_is_told_to_go_on(start: Starter) -> None:
    """`Expect: 100-continue` is answered when somebody wants the body, and not when it would be refused."""
    server = await serve(start)
    line = await Line.to(server)
    await line.send(request("POST", "/take", None, Expect="100-continue", Content_Length="7"))
    assert (await line.response()).status == 100
    await line.send(b'{"a":1}')
    assert (await line.response()).json == {"keys": 1}
    await line.send(request("POST", "/take", None, Expect="100-continue", Content_Length=HUGE))
    assert (await line.response()).status == 413
    assert await line.ended() == b""


@pytest.mark.parametrize("broken", [b"zz\r\nabc\r\n", b"3\r\nabcdef\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
async def test_broken_chunks_are_the_clients_fault(start: Starter, broken: bytes) -> None:
    """400 at once, not when the time for the body has passed."""
    line = await Line.to(await serve(start, body_grace_seconds=1000))
    await line.send(request("POST", "/take", b"2\r\n{}\r\n", Transfer_Encoding="chunked"))
    await line.send(broken)
    answer = await line.response()
    assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
    line.close()


async def test_attack_57_a_slow_body_is_given_up(start: Starter) -> None:
    """A body that stops is a 408 and the end of the connection."""
    line = await Line.to(await serve(start, body_grace_seconds=0.1, linger_seconds=0.1))
    await line.send(request("POST", "/take", None, Content_Length="1000") + b'{"a":')
    answer = await line.response()
    assert (answer.status, answer.errcode) == (408, "M_UNKNOWN")
    await line.ended()


async def test_attack_57_a_trickling_body_is_given_up(start: Starter) -> None:
    """A body that always moves but never fast enough does not live on its single bytes."""
    server = await serve(start, body_grace_seconds=0.2, body_bytes_per_second=100_000, linger_seconds=0.1)
    line = await Line.to(server)
    await line.send(request("POST", "/take", None, Content_Length="60000"))
    answering = asyncio.create_task(line.response())
    try:
        async with asyncio.timeout(20):
            while not answering.done():
                await line.send(b" ")
                await asyncio.wait([answering], timeout=0.01)
    except ConnectionError:
        pass
    assert (await answering).status == 408
    line.close()
