"""The routes that clients are served, without a server: a new endpoint is fuzzed and attacked from its first day."""

from functools import cache
from typing import Any

from clients.limits import Limits
from clients.routes import Live, PublicFacts, client_routes
from config.system import SystemClock
from homeserver.http.routing import Route


class Nothing:
    """Stands for every service: to declare routes, none is needed."""

    def __getattr__(self, name: str) -> Any:
        return self


@cache
def declared_routes() -> tuple[Route, ...]:
    """In the order of `clients.routes`."""
    nothing: Any = Nothing()
    return tuple(client_routes(PublicFacts("example.org"), Limits(SystemClock()), nothing, nothing, Live(nothing)))
