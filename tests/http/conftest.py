"""The loop of production under every test of HTTP, and a server on a free port."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.http.driver import Starter


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Starts servers; at the end they are drained, and none may have met an error that nobody foresaw."""
    starter = Starter()
    yield starter
    await starter.stop()
