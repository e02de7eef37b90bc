"""The client door on a real socket, as the tests of clients have it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.builders.house import TestHouse
from tests.clients.conftest import Served, serve


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def served(house: TestHouse) -> AsyncIterator[Served]:
    """Open registration, no rate limits."""
    async with serve(house) as opened:
        yield opened
