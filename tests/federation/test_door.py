"""Who gets in at the federation door, and who does not."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from config.settings import FederationSettings
from federation import authentication
from federation.authentication import TRANSACTION_BYTES, Peer, PeerDoor, Result
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.telemetry.metrics import FEDERATION_REFUSED
from tests.builders import identity
from tests.builders.cluster import SERVER_NAME
from tests.builders.house import TestHouse
from tests.conformance.client import MatrixClient
from tests.federation.front import Front, serve
from tests.federation.network import KEYS, Network

PEER = identity.Peer("peer.example")
READ = "/_matrix/federation/v1/query/profile"
SEND = "/_matrix/federation/v1/send/1"


class Echo:
    """Endpoints that note who asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed("GET", "/_matrix/federation/v1/query/{type}", self.read),
            door.signed_body("PUT", "/_matrix/federation/v1/send/{txn_id}", self.send, body_limit=TRANSACTION_BYTES),
        ]

    async def read(self, request: Request, peer: Peer) -> Result:
        self.asked.append((peer.origin, None))
        return {}

    async def send(self, request: Request, peer: Peer, content: dict[str, Any]) -> Result:
        self.asked.append((peer.origin, content))
        return {"pdus": {}}


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def front(next_house: TestHouse, echo: Echo) -> AsyncIterator[Front]:
    network = Network({(PEER.name, KEYS): PEER.keys()})
    async with serve(next_house, network, more=echo.routes) as opened:
        yield opened


async def test_a_signed_request_comes_in(front: Front, echo: Echo) -> None:
    """The endpoint is told who asks, and what was sent; the query is signed too."""
    assert (await front.ask(PEER, "GET", READ, query={"user_id": "@a:b", "field": "ä&"})).status == 200
    content = {"pdus": [{"deep": [[1.5, 2**70]]}], "origin": "x", "edus": ["é\u0000"]}
    assert (await front.ask(PEER, "PUT", SEND, content)).status == 200
    assert echo.asked == [(PEER.name, None), (PEER.name, content)]


async def test_old_servers_leave_out_the_destination(front: Front) -> None:
    """In the header; they sign it all the same."""
    header = PEER.authorization("GET", READ, SERVER_NAME).replace(f'destination="{SERVER_NAME}",', "")
    assert "destination" not in header
    assert (await front.ask(None, "GET", READ, header=header)).status == 200


def altered(**changes: str) -> str:
    """The header of a good request, with some values changed."""
    header = PEER.authorization("GET", READ, SERVER_NAME)
    for old, new in changes.items():
        assert old in header
        header = header.replace(old, new)
    return header


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "header"),
        ("", "header"),
        ("Bearer abc", "header"),
        ("X-Matrix ", "header"),
        ("X-Matrix origin=peer.example", "header"),
        (PEER.authorization("GET", READ, "elsewhere.example"), "destination"),
        (identity.Peer(SERVER_NAME).authorization("GET", READ, SERVER_NAME), "destination"),
        (identity.Peer("unknown.example").authorization("GET", READ, SERVER_NAME), "key"),
        (identity.Peer("peer.example", "a_other").authorization("GET", READ, SERVER_NAME), "key"),
        (PEER.authorization("GET", READ + "?a=b", SERVER_NAME), "signature"),
        (PEER.authorization("POST", READ, SERVER_NAME), "signature"),
        (PEER.authorization("GET", READ, SERVER_NAME, {}), "signature"),
        (altered(sig='sig="AAAA",other'), "signature"),
    ],
)
async def test_who_is_refused(
    front: Front, echo: Echo, header: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No signature, a wrong one, for another server or request, by nobody we know: 401, logged once, counted."""
    before = FEDERATION_REFUSED.labels(reason)._value.get()
    with caplog.at_level(logging.WARNING, logger="federation.authentication"):
        answer = await front.ask(None, "GET", READ, header=header)
    assert (answer.status, answer.body["errcode"]) == (401, "M_UNAUTHORIZED")
    assert echo.asked == []
    assert len(caplog.records) == 1
    assert FEDERATION_REFUSED.labels(reason)._value.get() == before + 1


async def test_the_body_is_signed(front: Front, echo: Echo) -> None:
    """Another body, or none, is another request; how it is written does not matter."""
    header = PEER.authorization("PUT", SEND, SERVER_NAME, {"pdus": [], "b": 1})
    for body in (b'{"pdus": [], "b": 2}', b"{}"):
        assert (await front.ask(None, "PUT", SEND, body, header=header)).status == 401
    assert (await front.ask(None, "PUT", SEND, b' {"b":1, "pdus":[ ]}', header=header)).status == 200
    assert len(echo.asked) == 1


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"", 400, "M_NOT_JSON"),
        (b"[]", 400, "M_BAD_JSON"),
        (b'{"a":1,"a":1}', 400, "M_BAD_JSON"),
        (b"[" * 10_000, 400, "M_NOT_JSON"),
    ],
)
async def test_bodies_that_are_none(front: Front, echo: Echo, body: bytes, status: int, errcode: str) -> None:
    """As clients are told."""
    header = PEER.authorization("PUT", SEND, SERVER_NAME, {})
    answer = await front.ask(None, "PUT", SEND, body, header=header)
    assert (answer.status, answer.body["errcode"]) == (status, errcode)
    assert echo.asked == []


async def test_a_large_transaction(front: Front, echo: Echo) -> None:
    """Fifty events of the largest size, and all that may come with them."""
    content = {"pdus": [{"body": "x" * 65_000, "list": [1] * 200} for _ in range(50)], "edus": ["y" * 60_000] * 100}
    header = PEER.authorization("PUT", SEND, SERVER_NAME, content)
    assert (await front.put_large(SEND, json.dumps(content).encode(), header))[0] == 200
    assert echo.asked == [(PEER.name, content)]


async def test_a_body_too_large(front: Front, echo: Echo) -> None:
    """Refused by what it declares."""
    header = PEER.authorization("PUT", SEND, SERVER_NAME, {})
    status, answer = await front.put_large(SEND, b" " * (TRANSACTION_BYTES + 1), header)
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert echo.asked == []


async def test_a_stranger_sends_no_body(front: Front) -> None:
    """Nobody's megabytes are read before we know whose key it would be signed with."""
    header = identity.Peer("unknown.example").authorization("PUT", SEND, SERVER_NAME, {})
    status, answer = await front.put_large(SEND, b"[" * TRANSACTION_BYTES, header)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_who_fails_too_often_has_to_wait(front: Front) -> None:
    """An address that only ever fails is told to come later, before anything is looked at."""
    for _ in range(60):
        assert (await front.ask(None, "GET", READ)).status == 401
    assert (await front.ask(None, "GET", READ)).status == 429
    assert (await front.ask(PEER, "GET", READ)).status == 429
    front.clock.ms += 2_000
    assert (await front.ask(PEER, "GET", READ)).status == 200


async def test_one_address_cannot_take_all_places(next_house: TestHouse, echo: Echo) -> None:
    """Requests whose keys are still being looked up are bounded; the next one is told to come again."""
    network = Network({(PEER.name, KEYS): PEER.keys()}, held=asyncio.Event())
    _, _, each = authentication._UNPROVEN
    async with serve(next_house, network, more=echo.routes) as front, AsyncExitStack() as opened:
        # A client has a hundred connections.
        clients = [await opened.enter_async_context(MatrixClient(front.url)) for _ in range(each // 100 + 1)]
        fronts = [replace(front, client=client) for client in clients]
        tasks = [asyncio.create_task(fronts[n // 100].ask(PEER, "GET", READ)) for n in range(each + 1)]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().status for task in done] == [429]
        assert network.held is not None
        network.held.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (FederationSettings(deny_servers=("peer.example",)), 403),
        (FederationSettings(allow_servers=("other.example",)), 403),
        (FederationSettings(allow_servers=("*.example",)), 200),
    ],
)
async def test_allow_and_deny_lists(
    next_house: TestHouse, echo: Echo, settings: FederationSettings, status: int
) -> None:
    """Whom the operator does not want is told so, and its keys are not even looked up."""
    network = Network({(PEER.name, KEYS): PEER.keys()})
    async with serve(next_house, network, settings=settings, more=echo.routes) as front:
        answer = await front.ask(PEER, "GET", READ)
        assert answer.status == status
        assert bool(network.asked) == (status == 200)
        if status == 403:
            assert answer.body["errcode"] == "M_FORBIDDEN"
