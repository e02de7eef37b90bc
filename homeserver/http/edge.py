"""From a request to its answer, whatever happens: the edge where nothing unforeseen gets past.

A request is routed and its endpoint is run; what it raises becomes an answer. The HTTP server and the WebSocket, which
carries requests too, have this in common, each with routes of its own.

Not here: how requests arrive and how answers are written.
"""

import asyncio
import logging
from collections.abc import Iterable

from homeserver.domain.errors import LimitExceeded, RemoteError, RequestError
from homeserver.http.answers import Answer, StreamedAnswer, json_answer
from homeserver.http.errors import internal_error, remote_error, request_error
from homeserver.http.request import Request
from homeserver.http.routing import Route, Router
from homeserver.http.upgrade import Upgrade
from homeserver.telemetry.metrics import LIMITED, UNFORESEEN_ERRORS, RouteMetrics

log = logging.getLogger(__name__)
_access_log = logging.getLogger("homeserver.http.access")

_PREFLIGHT = Answer(204, b"")

_UNFORESEEN = "Unforeseen error in %s %s"


class Edge:
    """Answers requests of `routes`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError if two routes are the same."""
        self._router = Router(routes)
        self._route_metrics = {route: RouteMetrics(route.label) for route in self._router.routes}
        self._preflights = RouteMetrics("OPTIONS")
        self._unrouted = RouteMetrics("unknown")

    async def answer(self, request: Request) -> tuple[Answer | StreamedAnswer | Upgrade, RouteMetrics]:
        """The answer, and where it is to be counted."""
        if request.method == "OPTIONS":
            return _PREFLIGHT, self._preflights
        metrics = self._unrouted
        try:
            try:
                route, request.parameters = self._router.find(request.method, request.path)
                metrics = self._route_metrics[route]
                request.body_limit = route.body_limit
                result = await route.endpoint(request)
                if isinstance(result, Answer | StreamedAnswer | Upgrade):
                    return result, metrics
                return json_answer(result), metrics
            except RequestError as error:
                if isinstance(error, LimitExceeded):
                    LIMITED.labels(error.limit).inc()
                return request_error(error), metrics
            except RemoteError as error:
                log.info("Another server failed: %s", error)
                return remote_error(), metrics
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this request: it waited for something else that was.
            log.error(_UNFORESEEN, request.method, request.path, exc_info=error)
        except Exception:
            log.exception(_UNFORESEEN, request.method, request.path)
        UNFORESEEN_ERRORS.labels("http").inc()
        return internal_error(), metrics


def logs_access() -> bool:
    """Whether anybody wants to read a line for each request."""
    return _access_log.isEnabledFor(logging.INFO)


def log_access(request: Request, answer: Answer, seconds: float, size: int | None = None) -> None:
    """One line for a request that was answered, if anybody wants to read it. `size`: of what was sent, if it is not
    the body of `answer`."""
    if not logs_access():
        return
    fields = {
        "method": request.method,
        "target": request.target,
        "status": answer.status,
        "ms": round(seconds * 1000, 1),
        "bytes": len(answer.body) if size is None else size,
        "remote": request.remote,
    }
    _access_log.info("request", extra={"fields": fields})
