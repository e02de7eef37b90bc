"""Requests over a WebSocket: those of HTTP, in the order in which they were sent.

docs/reference/websocket.md
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from clients.live.work import ALLOWED
from tests.builders.websocket import PONG, TEXT, WebSocketClient, masked
from tests.clients.live.conftest import Person, send_request
from tests.conformance.client import v3
from tests.fuzz.routes import declared_routes

Stage = Callable[..., Any]

COUNT = 1_000
WINDOW = 8


async def said(person: Person, room: str, start: str) -> list[str]:
    """All messages since a token, in their order."""
    found: list[str] = []
    while True:
        page = await person.http.messages(room, start, dir="f", limit=100)
        found += [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
        if "end" not in page:
            return found
        start = page["end"]


async def test_what_may_be_asked(stage: Stage) -> None:
    """Everything on the list works as over HTTP."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    sent = await socket.ask(request=send_request(room, "t1"))
    event = sent.body["event_id"]
    for method, path, body in [
        ("PUT", v3("rooms", room, "redact", event, "t2"), {"reason": "typo"}),
        ("PUT", v3("rooms", room, "state", "org.example.thing"), {"a": 1}),
        ("PUT", v3("rooms", room, "state", "org.example.thing", ""), {"a": 2}),
        ("PUT", v3("rooms", room, "state", "org.example.thing", "key"), {"a": 3}),
        ("PUT", v3("rooms", room, "typing", alice.user_id), {"typing": False}),
        ("POST", v3("rooms", room, "receipt", "m.read", event), {}),
        ("POST", v3("rooms", room, "receipt", "m.read", event), None),
        ("POST", v3("rooms", room, "read_markers"), {"m.fully_read": event}),
    ]:
        answer = await socket.ask(request={"method": method, "path": path, "body": body, "query": {}})
        assert answer.status == 200, (path, answer)
    assert await alice.http.state(room, "org.example.thing", "key") == {"a": 3}


async def test_every_route_on_the_list_is_one_of_http(stage: Stage) -> None:
    """A path that was renamed would be missing here unseen."""
    there = {(route.method, route.path) for route in declared_routes()}
    assert {path for _, path in ALLOWED - there} <= {"/_matrix/client/v3/sendToDevice/{event_type}/{txn_id}"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_matrix/client/v3/sync", 405),
        ("OPTIONS", "/_matrix/client/v3/logout", 405),
        ("", "/_matrix/client/v3/logout", 405),
        ("POST", "/_matrix/client/v3/logout", 404),
        ("PUT", "/_matrix/client/v3/profile/@alice:test.example/displayname", 404),
        ("POST", "/_matrix/client/v3/rooms/!r:test.example/send/m.room.message/t", 405),
        ("POST", "/_matrix/client/v3/rooms/!r:test.example/leave", 404),
        ("POST", "nonsense", 404),
        ("POST", "", 404),
        ("POST", "http://localhost/_matrix/client/v3/logout", 404),
    ],
)
async def test_what_may_not_be_asked(stage: Stage, method: str, path: str, status: int) -> None:
    """Whatever is not on the list does not exist here."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.connect()
    answer = await socket.ask(request={"method": method, "path": path, "body": {}})
    assert (answer.status, answer.body["errcode"]) == (status, "M_UNRECOGNIZED")
    assert (await alice.http.call("GET", "/_matrix/client/v3/account/whoami"))["user_id"] == alice.user_id


@pytest.mark.parametrize(
    "asked",
    [
        5,
        {},
        {"method": "PUT"},
        {"method": 5, "path": "/x"},
        {"method": "PUT", "path": ["/x"]},
        {"body": 5},
        {"body": [1]},
        {"query": 5},
        {"query": {"a": "\x00"}},
        {"path": v3("rooms", "nonsense", "send", "m.room.message", "t")},
        {"path": "/_matrix/client/v3/rooms/%ff/send/a/b"},
    ],
)
async def test_requests_that_make_no_sense(stage: Stage, asked: Any) -> None:
    """A 400, and the socket goes on."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    if isinstance(asked, dict) and not {"method", "path"} & asked.keys() and asked:
        asked = {**send_request(room, "t"), **asked}
    elif isinstance(asked, dict) and "path" in asked:
        asked = {"method": "PUT", "body": {}, **asked}
    answer = await socket.ask(request=asked)
    assert answer.status == 400, answer
    assert (await socket.ask(request=send_request(room, "good"))).status == 200


async def test_transaction_ids(stage: Stage) -> None:
    """The same as over HTTP, and shared with it."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    first = await socket.ask(request=send_request(room, "t1"))
    again = await socket.ask(request=send_request(room, "t1"))
    assert first.body == again.body
    assert await alice.http.send(room, "Hey", txn="t1") == first.body["event_id"]


async def test_state_that_stands_already(stage: Stage) -> None:
    """To set it again makes no event: a retry after a break is harmless."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    asked = {"method": "PUT", "path": v3("rooms", room, "state", "m.room.topic", ""), "body": {"topic": "Tea"}}
    first, again = await socket.ask(request=asked), await socket.ask(request=asked)
    assert first.body["event_id"] == again.body["event_id"]


async def test_large_numbers(stage: Stage) -> None:
    """A body is what it was: an integer that no double holds is refused as over HTTP, and never rounded."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    path = v3("rooms", room, "send", "m.room.message", "t1")
    text = b'{"id":"a","request":{"method":"PUT","path":"%b","body":{"n":%b}}}'
    await socket.frame(TEXT, text % (path.encode(), b"1" * 30))
    over_http = await alice.http.call("PUT", path, b'{"n":' + b"1" * 30 + b"}", expect=400)
    answer = await socket.answer("a")
    assert (answer.status, answer.body["errcode"]) == (400, over_http["errcode"])


async def test_a_suspended_user(stage: Stage) -> None:
    """May not send here either."""
    scene = await stage()
    alice, _, room = await scene.pair()
    await scene.served.suspend(alice.http)
    socket = await alice.connect()
    answer = await socket.ask(request=send_request(room, "t1"))
    assert (answer.status, answer.body["errcode"]) == (403, "M_USER_SUSPENDED")


async def test_a_thousand_requests_within_the_window(stage: Stage) -> None:
    """A client that keeps at most eight unanswered is never refused, and its order is kept."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    for number in range(COUNT):
        if number >= WINDOW:
            assert (await socket.answer(f"r{number - WINDOW}")).status == 200
        await socket.begin(f"r{number}", request=send_request(room, f"t{number}", str(number)))
    for number in range(COUNT - WINDOW, COUNT):
        assert (await socket.answer(f"r{number}")).status == 200
    assert await said(alice, room, alice.since) == [str(number) for number in range(COUNT)]


async def flood(socket: WebSocketClient, room: str, numbers: range | list[int], ids: Any) -> list[int]:
    """Sends the requests all at once; those that were refused, in order."""
    sent = {f"f{next(ids)}": number for number in numbers}
    frames = [
        masked(TEXT, orjson.dumps({"id": id, "request": send_request(room, f"t{number}", str(number))}))
        for id, number in sent.items()
    ]
    socket.write(b"".join(frames))
    refused: list[int] = []
    for id, number in sent.items():
        answer = await socket.answer(id)
        assert answer.status in (200, 429), answer
        if answer.status == 429:
            assert answer.body["errcode"] == "M_LIMIT_EXCEEDED"
            assert answer.body["retry_after_ms"] > 0
            refused.append(number)
    return refused


async def test_a_thousand_requests_of_a_client_that_ignores_the_window(stage: Stage) -> None:
    """It is refused much of what it sends; sent again in order as often as it takes, all is in order at the end."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket, ids = await alice.connect(), itertools.count()
    # First as fast as it can; what was refused it sends again, sometimes too much at once again.
    left = await flood(socket, room, range(COUNT), ids)
    assert len(left) > COUNT / 2
    rounds = 0
    while left:
        rounds += 1
        burst = WINDOW if rounds % 3 else 3 * WINDOW
        left = await flood(socket, room, left[:burst], ids) + left[burst:]
    assert await said(alice, room, alice.since) == [str(number) for number in range(COUNT)]


async def test_a_rate_limit_keeps_the_order(stage: Stage) -> None:
    """What stood behind the request that met it is refused as well, and a retry in order finds the order kept."""
    rows: Mapping[str, Any] = {"messages": {"per_second": 20.0, "burst": 5}, "general": None}
    scene = await stage(limits=True, rows=rows)
    alice, _, room = await scene.pair()
    socket, ids = await alice.connect(), itertools.count()
    left, refusals = list(range(40)), 0
    while left:
        refused = await flood(socket, room, left[:WINDOW], ids)
        refusals += len(refused)
        left = refused + left[WINDOW:]
    assert refusals
    assert await said(alice, room, alice.since) == [str(number) for number in range(40)]


async def test_nothing_is_taken_before_the_refusal_was_seen(stage: Stage) -> None:
    """A request that was under way when one was refused is refused too, however late it comes."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    socket.answers_pings = False
    ids = itertools.count()
    refused = await flood(socket, room, range(WINDOW + 1), ids)
    assert refused == [WINDOW]
    # The queue is empty, and the refusal was written; that it was seen, the server does not know yet.
    late = await socket.ask(request=send_request(room, "late"))
    assert late.status == 429
    await socket.frame(PONG, socket.pings[0])
    assert (await socket.ask(request=send_request(room, "late"))).status == 429
    await socket.frame(PONG, socket.pings[-1])
    assert (await socket.ask(request=send_request(room, "late", "late"))).status == 200
    assert await said(alice, room, alice.since) == [*map(str, range(WINDOW)), "late"]
