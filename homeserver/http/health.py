"""The routes that operators' tools ask: is it alive, and how is it doing.

`/metrics` belongs on a listener that only operators reach.
"""

from collections.abc import Callable

from homeserver.domain.errors import Unavailable
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.telemetry import metrics


def health_routes(healthy: Callable[[], bool]) -> list[Route]:
    """`/health`: 200 while `healthy()` says so, else 503. Asked often, so it must answer at once."""

    async def health(_: Request) -> Answer:
        if not healthy():
            raise Unavailable("Not ready")
        return Answer(200, b'{"status":"ok"}')

    return [Route("GET", "/health", health)]


def metrics_routes(render: Callable[[], bytes] = metrics.render) -> list[Route]:
    """`/metrics` in the format of Prometheus."""

    async def show(_: Request) -> Answer:
        return Answer(200, render(), metrics.CONTENT_TYPE)

    return [Route("GET", "/metrics", show)]
