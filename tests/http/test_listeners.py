"""Listeners as the operator asks for them, with the operators' own routes."""

import asyncio
import socket

import aiohttp
import pytest

from config.listeners import Listener, Listeners
from config.system import SystemClock, SystemRandomness
from homeserver.http.health import health_routes, metrics_routes


async def test_each_listener_serves_its_own_routes() -> None:
    """Health on one, metrics on the other, and neither on both."""
    healthy = True
    stopping = asyncio.Event()
    listeners = Listeners(
        [Listener("127.0.0.1", 0, health_routes(lambda: healthy)), Listener("127.0.0.1", 0, metrics_routes())],
        clock=SystemClock(),
        stopping=stopping,
    )
    await listeners.open()
    first, second = listeners.urls
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{first}/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        healthy = False
        async with session.get(f"{first}/health") as answer:
            assert answer.status == 503
        async with session.head(f"{first}/health") as answer:
            assert answer.status == 503
        async with session.get(f"{second}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            assert 'parley_http_requests_total{route="GET /health",status="5xx"}' in await answer.text()
        async with session.get(f"{second}/health") as answer:
            assert answer.status == 404
    await listeners.drain(1)
    assert stopping.is_set()
    assert listeners.urls == []


async def test_a_port_that_is_taken_leaves_nothing_open() -> None:
    """OSError for the operator, and the listeners before it are closed again."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        listeners = Listeners(
            [Listener("127.0.0.1", port, []), Listener("127.0.0.1", taken.getsockname()[1], [])],
            clock=SystemClock(),
            stopping=asyncio.Event(),
        )
        with pytest.raises(OSError, match="in use"):
            await listeners.open()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_ipv6_has_its_brackets() -> None:
    """The printed address can be pasted into a browser."""
    listeners = Listeners(
        [Listener("::1", 0, health_routes(lambda: True))], clock=SystemClock(), stopping=asyncio.Event()
    )
    await listeners.open()
    [url] = listeners.urls
    assert url.startswith("http://[::1]:")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as answer:
        assert answer.status == 200
    await listeners.drain(1)


def test_tokens_are_unpredictable_and_plain() -> None:
    """As long as asked, letters and digits only, never the same."""
    randomness = SystemRandomness()
    token = randomness.token(40)
    assert len(token) == 40
    assert token.isascii()
    assert token.isalnum()
    assert token != randomness.token(40)
    assert len(randomness.bytes(32)) == 32
    assert SystemClock().now_ms() > 1_700_000_000_000
