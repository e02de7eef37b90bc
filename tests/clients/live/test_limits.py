"""The rate limits of HTTP hold over a WebSocket too: the same rows, the same buckets."""

from collections.abc import Callable
from typing import Any

import pytest

from homeserver.telemetry.metrics import REGISTRY
from tests.clients.live.conftest import send_request
from tests.conformance.client import v3

Stage = Callable[..., Any]
SCARCE = {"per_second": 0.001, "burst": 2}


def refusals(row: str) -> float:
    return REGISTRY.get_sample_value("parley_limited_total", {"limit": row}) or 0.0


@pytest.mark.parametrize(
    ("row", "method", "parts", "body"),
    [
        ("messages", "PUT", ("send", "m.room.message", "{}"), {"msgtype": "m.text", "body": "Hi"}),
        ("messages_room", "PUT", ("send", "m.room.message", "{}"), {"msgtype": "m.text", "body": "Hi"}),
        ("state", "PUT", ("state", "org.example.{}", ""), {"a": 1}),
        ("typing", "PUT", ("typing", "@alice:test.example"), {"typing": True, "timeout": 1000}),
        ("receipts", "POST", ("read_markers",), {}),
    ],
)
async def test_http_and_websocket_share_a_bucket(
    stage: Stage, row: str, method: str, parts: tuple[str, ...], body: dict[str, Any]
) -> None:
    """One over HTTP and one over the socket use up a row of two; the third is refused on either, in the same words."""
    scene = await stage(limits=True, rows={row: SCARCE})
    alice = await scene.person("alice")
    room = await alice.http.create_room()
    socket = await alice.connect()
    before = refusals(row)

    def path(number: int) -> str:
        return v3("rooms", room, *(part.format(number) for part in parts))

    assert (await alice.http.ask(method, path(1), body)).status == 200
    assert (await socket.ask(request={"method": method, "path": path(2), "body": body})).status == 200
    over_socket = await socket.ask(request={"method": method, "path": path(3), "body": body})
    over_http = await alice.http.ask(method, path(3), body)
    for answer in (over_socket, over_http):
        assert answer.status == 429
        assert (answer.body["errcode"], answer.body["io.parley.limit"]) == ("M_LIMIT_EXCEEDED", row)
        assert answer.body["retry_after_ms"] > 0
    assert refusals(row) == before + 2


async def test_syncs_count_too(stage: Stage) -> None:
    """A socket that asks for one sync after another meets the row that everything else meets."""
    scene = await stage(limits=True, rows={"general": {"per_second": 0.001, "burst": 8}})
    alice = await scene.person("alice")
    await alice.start()
    socket = await alice.connect()
    answers = [await socket.ask(sync=alice.sync(timeout=0)) for _ in range(10)]
    assert answers[0].status == 200
    assert answers[-1].status == 429
    assert answers[-1].body["io.parley.limit"] == "general"


async def test_what_a_client_may_have_unanswered_is_counted(stage: Stage) -> None:
    """The limits of the socket itself name themselves too, and stand in the metrics."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    before = refusals("websocket_requests")
    ids = [await socket.begin(request=send_request(room, f"t{number}")) for number in range(40)]
    answers = [await socket.answer(id) for id in ids]
    named = [answer.body["io.parley.limit"] for answer in answers if answer.status == 429]
    assert refusals("websocket_requests") == before + len(named)
    assert set(named) <= {"websocket_requests"}
