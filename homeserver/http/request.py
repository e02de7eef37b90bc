"""A request as endpoints see it: parsed, bounded, and free of any web framework.

Parameters of the path are decoded after the path was split, so identifiers may hold an encoded slash. Query parameters
are decoded when somebody asks. All texts are valid Unicode without U+0000 (no database text can hold it); anything else
is a BadRequest. The body is read at most once, by one of `body`, `json_object`, `json_object_or_empty`.

https://spec.matrix.org/v1.19/client-server-api/#api-standards
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload
from urllib.parse import unquote_to_bytes

from homeserver.domain.canonical import parse_json
from homeserver.domain.errors import BadRequest
from homeserver.http.body import ReadableBody, refuse_content_type

DEFAULT_BODY_LIMIT = 1024 * 1024

_INTEGER = re.compile(r"-?[0-9]{1,16}", re.ASCII)

T = TypeVar("T")


class Authenticated(Protocol):
    """Who wants to know that a request was authenticated: the connection, which counts as anonymous till then."""

    def authenticated(self) -> None: ...


def decode(raw: str) -> str:
    """A percent-encoded piece of a request target as text.

    Raises BadRequest for what is not UTF-8, and for U+0000.
    """
    if "%" not in raw and raw.isascii():
        return raw
    try:
        # The parser turned bytes that are not UTF-8 into lone surrogates; this turns them back.
        text = unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError as error:
        raise BadRequest("The path and the query must be UTF-8") from error
    if "\x00" in text:
        raise BadRequest("The path and the query must not contain U+0000")
    return text


def parse_query(raw: str) -> dict[str, list[str]]:
    """The values of each name, in order. Pairs without a name are left out; a name without `=` has an empty value."""
    values: dict[str, list[str]] = {}
    for pair in raw.split("&"):
        name, _, value = pair.partition("=")
        if name:
            key = decode(name.replace("+", " "))
            values.setdefault(key, []).append(decode(value.replace("+", " ")))
    return values


class Request:
    """One request. Made by `homeserver.http.server`, passed to the endpoint of its route."""

    __slots__ = (
        "_body",
        "_connection",
        "_context",
        "_query",
        "body_limit",
        "headers",
        "method",
        "parameters",
        "path",
        "raw_query",
        "remote",
        "request_id",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: ReadableBody,
        connection: Authenticated,
        remote: str,
        request_id: str,
        query: dict[str, list[str]] | None = None,
    ) -> None:
        """`query`: if it did not come with the target."""
        self.method = method
        """As sent; HEAD is routed like GET."""
        self.target = target
        """Path and query exactly as sent: federation signs it."""
        self.path, _, self.raw_query = target.partition("?")
        """Still percent-encoded."""
        self.headers = headers
        """Case-insensitive."""
        self.remote = remote
        """The client's address, as text."""
        self.request_id = request_id
        """Also in every log line of this request."""
        self.parameters: Mapping[str, str] = {}
        """Decoded parameters of the route's path; set by the router."""
        self.body_limit = DEFAULT_BODY_LIMIT
        """Set by the route."""
        self._body = body
        self._connection = connection
        self._context: Any = None
        self._query = query

    @property
    def context(self) -> Any:
        """Who asks, as the door has found out; None until then."""
        return self._context

    @context.setter
    def context(self, context: Any) -> None:
        self._context = context
        self._connection.authenticated()

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return self.headers.get(name)

    @property
    def query(self) -> Mapping[str, Sequence[str]]:
        """All values of each name of the query."""
        if self._query is None:
            self._query = parse_query(self.raw_query)
        return self._query

    @overload
    def text(self, name: str) -> str | None: ...
    @overload
    def text(self, name: str, default: str) -> str: ...
    def text(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def required(self, name: str) -> str:
        """The first value of a query parameter that must be there."""
        value = self.text(name)
        if value is None:
            raise BadRequest(f"Query parameter {name} is missing", "M_MISSING_PARAM")
        return value

    @overload
    def integer(self, name: str, default: int, minimum: int = 0, maximum: int = 2**53 - 1) -> int: ...
    @overload
    def integer(self, name: str, default: None, minimum: int = 0, maximum: int = 2**53 - 1) -> int | None: ...
    def integer(self, name: str, default: int | None, minimum: int = 0, maximum: int = 2**53 - 1) -> int | None:
        """A query parameter as an integer. More than `maximum` counts as `maximum`; less than `minimum` is refused."""
        value = self.text(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value):
            raise BadRequest(f"Query parameter {name} must be an integer")
        number = int(value)
        if number < minimum:
            raise BadRequest(f"Query parameter {name} must be at least {minimum}")
        return min(number, maximum)

    def boolean(self, name: str, default: bool) -> bool:
        """A query parameter that is `true` or `false`."""
        value = self.text(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise BadRequest(f"Query parameter {name} must be true or false")
        return value == "true"

    @overload
    def choice(self, name: str, choices: Collection[str], default: str) -> str: ...
    @overload
    def choice(self, name: str, choices: Collection[str], default: None) -> str | None: ...
    def choice(self, name: str, choices: Collection[str], default: str | None) -> str | None:
        """A query parameter that is one of `choices`."""
        value = self.text(name)
        if value is None:
            return default
        if value not in choices:
            raise BadRequest(f"Query parameter {name} must be one of {', '.join(choices)}")
        return value

    async def body(self) -> bytes:
        """The body as it is, at most the route's `body_limit` bytes."""
        return await self._body.read(self.body_limit)

    async def json_object(self, *, strict: bool = False) -> dict[str, Any]:
        """The body as a JSON object; `strict` refuses what canonical JSON cannot say (floats, large integers).

        Raises BadRequest (M_NOT_JSON, M_BAD_JSON), TooLarge, UnsupportedMedia, RequestTimeout.
        """
        refuse_content_type(self.headers)
        return _object(await self._body.read(self.body_limit), strict)

    async def json_object_or_empty(self) -> dict[str, Any]:
        """As `json_object`, for endpoints whose body may be left out: that is the empty object."""
        refuse_content_type(self.headers)
        body = await self._body.read(self.body_limit)
        return _object(body, False) if body.strip() else {}


def _object(body: bytes, strict: bool) -> dict[str, Any]:
    content = parse_json(body, strict)
    if not isinstance(content, dict):
        raise BadRequest("The body must be a JSON object", "M_BAD_JSON")
    return content
