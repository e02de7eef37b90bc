"""Routes, and how a path finds its own.

A route's path is written as the spec writes it, `/_matrix/client/v3/rooms/{room_id}/state/{event_type}/`. A request's
path is split at its slashes while it is still percent-encoded, walked through a tree of segments, and only then are the
parameters decoded: `%2F` inside an identifier is not a separator. A literal segment wins over a parameter, a parameter
is never empty, and a trailing slash matters: where both forms are wanted, both are declared.

"M_UNRECOGNIZED ... 404 HTTP status code if the endpoint is not implemented or a 405 HTTP status code if the endpoint is
implemented, but the incorrect HTTP method is used."
https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from homeserver.domain.errors import NotFound
from homeserver.http.answers import Answer, StreamedAnswer
from homeserver.http.errors import MethodNotAllowed
from homeserver.http.request import DEFAULT_BODY_LIMIT, Request, decode
from homeserver.http.upgrade import Upgrade

Endpoint = Callable[[Request], Awaitable[Answer | StreamedAnswer | Mapping[str, Any] | Upgrade]]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One method on one path. `limits` names rows of the door's table of rate limits, `body_limit` is in bytes.

    Compared and hashed by identity: that is all that is asked of it on every request.
    """

    method: str
    path: str
    endpoint: Endpoint
    _: KW_ONLY
    name: str = ""
    limits: tuple[str, ...] = ()
    body_limit: int = DEFAULT_BODY_LIMIT

    @property
    def label(self) -> str:
        """What metrics and logs call it."""
        return self.name or f"{self.method} {self.path}"


class _Node:
    """A place in the tree: what follows it, and what ends here, each with the names of its parameters."""

    __slots__ = ("literals", "parameter", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.routes: dict[str, tuple[Route, tuple[str, ...]]] = {}


Match = tuple[Route, Mapping[str, str]]


class Router:
    """All routes of one listener."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError if two routes share method and path, or a path is not written as it must be."""
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if not route.path.startswith("/"):
            raise ValueError(f"The path of a route starts with a slash: {route.path}")
        node = self._root
        names: list[str] = []
        for segment in route.path[1:].split("/"):
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                if node.parameter is None:
                    node.parameter = _Node()
                node = node.parameter
            elif "{" in segment or "%" in segment:
                raise ValueError(f"A segment is a literal or one parameter: {route.path}")
            else:
                node = node.literals.setdefault(segment, _Node())
        if len(set(names)) != len(names):
            raise ValueError(f"Two parameters of one name: {route.path}")
        if route.method in node.routes:
            raise ValueError(f"Two routes for {route.method} {route.path}")
        node.routes[route.method] = (route, tuple(names))

    def find(self, method: str, path: str) -> Match:
        """The route of a percent-encoded path, with its decoded parameters.

        Raises NotFound, MethodNotAllowed, and BadRequest for parameters that are not UTF-8.
        """
        if method == "HEAD":
            method = "GET"
        allowed: set[str] = set()
        segments = path[1:].split("/")
        found = _walk(self._root, segments, 0, method, [], allowed) if path.startswith("/") else None
        if found is not None:
            route, parameters = found
            return route, parameters
        if allowed:
            raise MethodNotAllowed(", ".join(sorted(allowed | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set()))))
        raise NotFound("Unrecognized request", "M_UNRECOGNIZED")


def _walk(
    node: _Node, segments: list[str], index: int, method: str, values: list[str], allowed: set[str]
) -> Match | None:
    """Depth first, literals before parameters. What ends on other methods is collected in `allowed`.

    Recursion only where both would do, so its depth and its cost are the tree's, not the request's.
    """
    while index < len(segments):
        segment = segments[index]
        index += 1
        literal = node.literals.get(segment)
        parameter = node.parameter if segment else None
        if literal is not None and parameter is not None:
            match = _walk(literal, segments, index, method, values.copy(), allowed)
            if match is not None:
                return match
            literal = None
        if literal is not None:
            node = literal
        elif parameter is not None:
            values.append(segment)
            node = parameter
        else:
            return None
    found = node.routes.get(method)
    if found is None:
        allowed.update(node.routes)
        return None
    route, names = found
    return route, {name: decode(value) for name, value in zip(names, values, strict=True)}
