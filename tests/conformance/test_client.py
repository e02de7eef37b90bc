"""The tests' own client: what it sends, and that it lets no wrong answer pass."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conformance.client import MatrixClient, v3

ACCOUNT = {"user_id": "@alice:b", "access_token": "secret", "device_id": "D"}
NOT_FOUND = {"errcode": "M_UNRECOGNIZED", "error": "no such endpoint"}


class Wire:
    """A server that says what the test tells it, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = {}
        self.content_type = "application/json"
        self.asked: list[tuple[str, str]] = []
        self.sent: list[bytes] = []
        self.tokens: list[str] = []

    def says(self, body: Any, status: int = 200) -> None:
        self.body, self.status = body, status

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path))
        self.sent.append(await request.read())
        self.tokens.append(request.headers.get("Authorization", ""))
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return web.Response(body=raw, status=self.status, content_type=self.content_type)


@pytest.fixture(name="wire")
def fresh_wire() -> Wire:
    return Wire()


@pytest.fixture(name="alice")
async def connected_alice(wire: Wire) -> AsyncIterator[MatrixClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", wire.answer)
    async with TestServer(application) as server, MatrixClient(str(server.make_url(""))) as client:
        yield client


async def test_registering_keeps_the_token_for_later_calls(alice: MatrixClient, wire: Wire) -> None:
    """After register, the client is that device; one call may still use another token, or none."""
    wire.says(ACCOUNT)
    await alice.register("alice")
    assert (alice.user_id, alice.device_id, alice.token) == ("@alice:b", "D", "secret")
    assert json.loads(wire.sent[0])["auth"] == {"type": "m.login.dummy"}
    wire.says({"versions": ["v1.19"]})
    for token in (None, "other", ""):
        await alice.call("GET", "/_matrix/client/versions", token=token)
    assert wire.tokens == ["", "Bearer secret", "Bearer other", ""]


async def test_wrong_answer_fails_with_every_problem(alice: MatrixClient, wire: Wire) -> None:
    """An answer that does not conform is an AssertionError that lists what is wrong."""
    wire.says({"rooms": {"join": []}})
    with pytest.raises(AssertionError, match=r"(?s)next_batch: is required.*rooms/join: object is expected"):
        await alice.sync()


async def test_unexpected_status_fails(alice: MatrixClient, wire: Wire) -> None:
    """A conforming answer of another status fails too, unless any is welcome."""
    wire.says({"errcode": "M_FORBIDDEN", "error": "no"}, 403)
    with pytest.raises(AssertionError, match="403 should have been 200"):
        await alice.create_room()
    assert (await alice.call("POST", v3("createRoom"), {}, expect=403))["errcode"] == "M_FORBIDDEN"
    assert (await alice.call("POST", v3("createRoom"), {}, expect=None))["error"] == "no"


async def test_unforeseen_error_fails_whatever_is_expected(alice: MatrixClient, wire: Wire) -> None:
    """A 500 is a defect even if it is well-formed."""
    wire.says({"errcode": "M_UNKNOWN", "error": "oops"}, 500)
    with pytest.raises(AssertionError, match="unforeseen"):
        await alice.call("POST", v3("createRoom"), {}, expect=500)


async def test_answer_must_be_json_where_json_is_described(alice: MatrixClient, wire: Wire) -> None:
    """Neither a page of HTML nor NaN passes for JSON."""
    wire.says(b'{"versions": [NaN]}')
    with pytest.raises(AssertionError, match="calls itself JSON"):
        await alice.call("GET", "/_matrix/client/versions")
    wire.content_type = "text/html"
    with pytest.raises(AssertionError, match="object is expected, not null"):
        await alice.call("GET", "/_matrix/client/versions")


async def test_ids_are_escaped_in_paths(alice: MatrixClient, wire: Wire) -> None:
    """Slashes, sigils, blanks and percent signs of ids reach the server as one part of the path."""
    wire.says({"event_id": "$e"})
    await alice.send("!a/b%:c", "Hi", kind="org.example.ü x", txn="t/1")
    await alice.set_state("!r:b", "m.room.name", {"name": "Attic"})
    wire.says({"room_id": "!r:b", "servers": ["b"]})
    assert await alice.join("#attic:b", via=["b", "c"]) == "!r:b"
    await alice.call("GET", "/_matrix/client/v3/directory/room/#attic:b")
    assert [path for _, path in wire.asked] == [
        "/_matrix/client/v3/rooms/%21a%2Fb%25%3Ac/send/org.example.%C3%BC%20x/t%2F1",
        "/_matrix/client/v3/rooms/%21r%3Ab/state/m.room.name/",
        "/_matrix/client/v3/join/%23attic%3Ab?via=b&via=c",
        "/_matrix/client/v3/directory/room/%23attic:b",
    ]


async def test_query_carries_tokens_filters_and_flags(alice: MatrixClient, wire: Wire) -> None:
    """Objects are sent as JSON, booleans as true, and what is None not at all."""
    wire.says({"next_batch": "s2"})
    assert await alice.sync(filter={"room": {}}, full_state=True) == {"next_batch": "s2"}
    await alice.sync("1+2/3", timeout=100)
    wire.says({"chunk": [], "start": "s"})
    await alice.messages("!r:b", "s", limit=5)
    assert [path.split("?")[1] for _, path in wire.asked] == [
        "timeout=0&filter=%7B%22room%22%3A%20%7B%7D%7D&full_state=true",
        "since=1%2B2%2F3&timeout=100",
        "from=s&dir=b&limit=5",
    ]


async def test_bodies_are_json_bytes_or_empty_objects(alice: MatrixClient, wire: Wire) -> None:
    """POST without a body sends {}, bytes go as they are, GET sends nothing."""
    wire.says({})
    await alice.call("POST", v3("rooms", "!r:b", "leave"))
    await alice.call("POST", v3("rooms", "!r:b", "leave"), b"{broken")
    await alice.invite("!r:b", "@bob:b", reason="party")
    await alice.state("!r:b", "m.room.name")
    assert wire.sent == [b"{}", b"{broken", b'{"user_id": "@bob:b", "reason": "party"}', b""]


async def test_refusal_of_an_unknown_endpoint_conforms(alice: MatrixClient, wire: Wire) -> None:
    """A test may ask for what does not exist, and sees M_UNRECOGNIZED; the headers are there as well."""
    wire.says(NOT_FOUND, 404)
    answer = await alice.ask("GET", "/_matrix/client/v3/nonsense", headers={"X-Test": "1"})
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (404, NOT_FOUND, "application/json")


async def test_query_in_the_path_is_a_mistake_of_the_test(alice: MatrixClient) -> None:
    """A query belongs into its own argument, where it is escaped."""
    with pytest.raises(ValueError, match="as `query`"):
        await alice.call("GET", "/_matrix/client/v3/sync?timeout=0")
