"""The one way in which tests wait: for a condition, and never for a time."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

# Far above what a busy machine needs: it bounds a test that would hang, and measures nothing.
PATIENCE = 60.0
_PAUSE = 0.02


async def until(condition: Callable[[], object], within: float = PATIENCE, what: str = "") -> Any:
    """What `condition`, which may be async, returns once that is true; AssertionError after `within` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if loop.time() > deadline:
            raise AssertionError(f"did not happen within {within:g} s: {what or condition}")
        await asyncio.sleep(_PAUSE)
