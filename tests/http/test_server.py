"""One request after the other over real sockets: answers, errors, and what every answer has in common."""

import asyncio
import logging
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest

from homeserver.domain import errors
from homeserver.http.answers import Answer
from homeserver.http.limits import ServerLimits
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.telemetry import logs
from homeserver.telemetry.metrics import HTTP_REQUESTS, HTTP_REQUESTS_IN_FLIGHT
from tests.http.driver import Line, Starter, port_of, request

ERRORS = {
    "bad": (errors.BadRequest("bad", "M_BAD_JSON"), 400, "M_BAD_JSON"),
    "unauthenticated": (errors.Unauthenticated("who?"), 401, "M_UNKNOWN_TOKEN"),
    "forbidden": (errors.Forbidden("no"), 403, "M_FORBIDDEN"),
    "not-found": (errors.NotFound("where?"), 404, "M_NOT_FOUND"),
    "not-allowed": (errors.NotAllowed("no"), 405, "M_UNRECOGNIZED"),
    "conflict": (errors.Conflict("twice", "M_ROOM_IN_USE"), 409, "M_ROOM_IN_USE"),
    "too-large": (errors.TooLarge("less"), 413, "M_TOO_LARGE"),
    "unsupported": (errors.UnsupportedMedia("what?"), 415, "M_NOT_JSON"),
    "limited": (errors.LimitExceeded("slowly", 1500, "rc"), 429, "M_LIMIT_EXCEEDED"),
    "unavailable": (errors.Unavailable("later"), 503, "M_UNKNOWN"),
    "remote": (errors.RemoteError("its secret"), 502, "M_UNKNOWN"),
}


async def echo(request: Request) -> Mapping[str, Any]:
    return {
        "id": request.parameters["id"],
        "query": request.query,
        "remote": request.remote,
        "agent": request.header("user-agent"),
    }


async def fail(request: Request) -> Answer:
    raise ERRORS[request.parameters["kind"]][0]


async def take(request: Request) -> Mapping[str, Any]:
    return {"got": await request.json_object()}


async def page(request: Request) -> Answer:
    return Answer(200, b"<p>", "text/html", {"ETag": '"1"'})


async def crash(request: Request) -> Answer:
    raise ZeroDivisionError("a secret detail")


async def crash_in_json(request: Request) -> Mapping[str, Any]:
    return {"a": object()}


async def crash_in_error(request: Request) -> Answer:
    raise errors.BadRequest("a", extra={"a": object()})


async def leak_cancellation(request: Request) -> Answer:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future
    return Answer()


async def time_out(request: Request) -> Answer:
    raise TimeoutError


ROUTES = [
    Route("GET", "/echo/{id}", echo),
    Route("GET", "/fail/{kind}", fail),
    Route("POST", "/take", take),
    Route("GET", "/page", page),
    Route("GET", "/crash", crash),
    Route("GET", "/crash-in-json", crash_in_json),
    Route("GET", "/crash-in-error", crash_in_error),
    Route("GET", "/leak-cancellation", leak_cancellation),
    Route("GET", "/time-out", time_out),
]


async def test_an_ordinary_client_is_served(start: Starter) -> None:
    """aiohttp's client: parameters, query, JSON both ways."""
    server = await start(ROUTES)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port_of(server)}") as session:
        async with session.get("/echo/%21a%2Fb?x=1&x=2&y=%20", headers={"User-Agent": "test"}) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/json"
            assert await answer.json() == {
                "id": "!a/b",
                "query": {"x": ["1", "2"], "y": [" "]},
                "remote": "127.0.0.1",
                "agent": "test",
            }
        async with session.post("/take", json={"a": [1, "ü"]}) as answer:
            assert await answer.json() == {"got": {"a": [1, "ü"]}}


@pytest.mark.parametrize("kind", ERRORS)
async def test_errors_are_standard_error_responses(start: Starter, kind: str) -> None:
    """Each kind of error has its status, its errcode, CORS headers, and leaves the connection open."""
    line = await Line.to(await start(ROUTES))
    _, status, errcode = ERRORS[kind]
    for _ in range(2):
        answer = await line.ask("GET", f"/fail/{kind}")
        assert (answer.status, answer.errcode) == (status, errcode)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert b"secret" not in answer.body
        assert answer.headers.get("retry-after") == ("2" if kind == "limited" else None)
    line.close()


@pytest.mark.parametrize("path", ["/crash", "/crash-in-json", "/crash-in-error", "/leak-cancellation", "/time-out"])
async def test_unforeseen_errors_say_nothing_and_are_logged(
    start: Starter, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """500 without a detail for the client; the log has the trace, the metric has the count, the connection goes on."""
    start.expected_unforeseen = 1
    line = await Line.to(await start(ROUTES))
    answer = await line.ask("GET", path)
    assert answer.status == 500
    assert answer.json == {"errcode": "M_UNKNOWN", "error": "Internal server error"}
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info
    assert record.getMessage() == f"Unforeseen error in GET {path}"
    assert (await line.ask("GET", "/echo/1")).status == 200
    line.close()


async def test_unknown_paths_and_methods(start: Starter) -> None:
    """404 and 405 with M_UNRECOGNIZED; 405 names the methods that there are."""
    line = await Line.to(await start(ROUTES))
    missing = await line.ask("GET", "/_matrix/client/v3/unknown")
    assert (missing.status, missing.errcode) == (404, "M_UNRECOGNIZED")
    wrong = await line.ask("DELETE", "/echo/1")
    assert (wrong.status, wrong.errcode) == (405, "M_UNRECOGNIZED")
    assert wrong.headers["allow"] == "GET, HEAD, OPTIONS"
    unreadable = await line.ask("GET", "/echo/%ff")
    assert (unreadable.status, unreadable.errcode) == (400, "M_INVALID_PARAM")
    line.close()


async def test_refused_requests_with_small_bodies_keep_the_connection(start: Starter) -> None:
    """A body that nobody read does not become the next request."""
    line = await Line.to(await start(ROUTES))
    for _ in range(3):
        assert (await line.ask("POST", "/unknown", b"GET /echo/1 HTTP/1.1\r\n\r\n")).status == 404
    assert (await line.ask("GET", "/echo/1")).status == 200
    line.close()


@pytest.mark.parametrize("path", ["/echo/1", "/unknown", "/fail/forbidden", "*", "/take"])
async def test_preflights_run_no_logic(start: Starter, path: str) -> None:
    """OPTIONS answers everywhere alike, with the CORS headers and without authentication."""
    line = await Line.to(await start(ROUTES))
    answer = await line.ask("OPTIONS", path, Origin="https://app.example", Access_Control_Request_Method="PUT")
    assert answer.status == 204
    assert answer.body == b""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "X-Requested-With, Content-Type, Authorization"
    assert (await line.ask("GET", "/echo/1")).status == 200
    line.close()


async def test_head_is_get_without_the_body(start: Starter) -> None:
    """Same headers, the length of the body that is not sent."""
    line = await Line.to(await start(ROUTES))
    head = await line.ask("HEAD", "/page")
    get = await line.ask("GET", "/page")
    assert head.status == get.status == 200
    assert head.body == b""
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert get.body == b"<p>"
    line.close()


async def test_pipelined_requests_are_answered_in_order(start: Starter) -> None:
    """Two hundred requests in one write, more than are kept waiting at once."""
    line = await Line.to(await start(ROUTES))
    await line.send(b"".join(request("GET", f"/echo/{number}") for number in range(200)))
    for number in range(200):
        assert (await line.response()).json["id"] == str(number)
    line.close()


async def test_a_request_may_come_in_any_pieces(start: Starter) -> None:
    """Byte by byte, two requests with a body each."""
    line = await Line.to(await start(ROUTES))
    for byte in request("POST", "/take", b'{"a":1}') * 2:
        await line.send(bytes([byte]))
    assert (await line.response()).json == {"got": {"a": 1}}
    assert (await line.response()).json == {"got": {"a": 1}}
    line.close()


async def test_old_clients_are_answered_and_closed(start: Starter) -> None:
    """HTTP/1.0, and whoever asks for it."""
    server = await start(ROUTES)
    for head in [b"GET /echo/1 HTTP/1.0\r\n\r\n", b"GET /echo/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]:
        line = await Line.to(server)
        await line.send(head)
        answer = await line.response()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert await line.ended() == b""


async def test_absolute_targets_are_understood(start: Starter) -> None:
    """`GET http://host/path` means `/path`."""
    line = await Line.to(await start(ROUTES))
    answer = await line.ask("GET", "http://localhost/echo/1?a=b")
    assert answer.json["query"] == {"a": ["b"]}
    line.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 405),
        (b"BREW /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /echo/1 HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"GET /echo/1 HTTP/1.1\r\n\r\n", 400),
        (b"GET /echo/1 HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /echo/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /take HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"TRACE /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 405),
        (b"\x00\xff\xfe\r\n\r\n", 405),
    ],
)
async def test_what_is_no_request_is_refused_as_json(
    start: Starter, caplog: pytest.LogCaptureFixture, head: bytes, status: int
) -> None:
    """A Matrix error and the end of the connection; nothing in the log above DEBUG, or scanners would fill it."""
    line = await Line.to(await start(ROUTES))
    await line.send(head)
    answer = await line.response()
    assert answer.status == status
    assert answer.errcode in ("M_UNKNOWN", "M_UNRECOGNIZED")
    assert answer.headers["access-control-allow-origin"] == "*"
    line.close()
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_requests_are_counted_by_route_and_class_of_status(start: Starter) -> None:
    """The label is the route as it is declared: what clients send never becomes a series."""
    counted = HTTP_REQUESTS.labels("GET /echo/{id}", "2xx")
    unknown = HTTP_REQUESTS.labels("unknown", "4xx")
    before = counted.value, unknown.value
    line = await Line.to(await start(ROUTES))
    await line.ask("GET", "/echo/1")
    await line.ask("GET", "/echo/2")
    await line.ask("GET", "/x/y/z")
    line.close()
    assert (counted.value, unknown.value) == (before[0] + 2, before[1] + 1)


async def test_each_request_has_an_id_of_its_own(start: Starter) -> None:
    """The same in the request and in the context of whatever it calls, also in tasks and threads."""
    seen: list[tuple[str, str, str]] = []

    async def look(request: Request) -> Answer:
        seen.append((request.request_id, logs.request_id.get(), await asyncio.to_thread(logs.request_id.get)))
        return Answer()

    line = await Line.to(await start([Route("GET", "/look", look)]))
    await line.ask("GET", "/look")
    await line.ask("GET", "/look")
    line.close()
    assert len({identifier for three in seen for identifier in three}) == 2
    assert logs.request_id.get() == ""


async def test_the_access_log_tells_what_was_asked(start: Starter, caplog: pytest.LogCaptureFixture) -> None:
    """One record per request, at INFO."""
    caplog.set_level(logging.INFO, "homeserver.http.access")
    line = await Line.to(await start(ROUTES))
    await line.ask("GET", "/echo/1?a=b")
    line.close()
    [record] = [record for record in caplog.records if record.name == "homeserver.http.access"]
    fields = record.__dict__["fields"]
    assert {**fields, "ms": 0} == {
        "method": "GET",
        "target": "/echo/1?a=b",
        "status": 200,
        "ms": 0,
        "bytes": fields["bytes"],
        "remote": "127.0.0.1",
    }


async def test_a_client_that_goes_away_ends_its_request(start: Starter) -> None:
    """A long-poll whose client is gone is cancelled, and that is no error."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> Answer:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Answer()

    server = await start([Route("GET", "/wait", wait)])
    line = await Line.to(server)
    await line.send(request("GET", "/wait"))
    async with asyncio.timeout(20):
        await began.wait()
        assert server.requests_in_flight == 1
        line.close()
        await ended.wait()


async def test_the_client_behind_a_proxy_is_known(start: Starter) -> None:
    """Only a trusted proxy is believed."""
    trusting = ServerLimits(trusted_proxies=(ip_network("127.0.0.0/8"),))
    for limits, remote in [(trusting, "192.0.2.7"), (ServerLimits(), "127.0.0.1")]:
        line = await Line.to(await start(ROUTES, limits=limits))
        answer = await line.ask("GET", "/echo/1", X_Forwarded_For="6.6.6.6, 192.0.2.7")
        assert answer.json["remote"] == remote
        line.close()


async def test_nothing_stays_in_flight(start: Starter) -> None:
    """The gauge returns to where it was, whatever the requests came to."""
    start.expected_unforeseen = 1
    before = HTTP_REQUESTS_IN_FLIGHT._value.get()
    server = await start(ROUTES)
    line = await Line.to(server)
    for path in ["/echo/1", "/crash", "/unknown", "/fail/limited"]:
        await line.ask("GET", path)
    line.close()
    assert server.requests_in_flight == 0
    assert HTTP_REQUESTS_IN_FLIGHT._value.get() == before
