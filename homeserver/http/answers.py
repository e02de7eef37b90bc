"""What an endpoint answers: an `Answer`, or a mapping that becomes one; rarely a `StreamedAnswer`.

Not here: how it is written to the wire (`homeserver.http.wire`). An answer is never compressed: compression of what
mixes secrets with a stranger's text tells the secrets by its length.

"all endpoints require the server to return a JSON object", https://spec.matrix.org/v1.19/client-server-api/#api-standards
"""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

JSON = "application/json"

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def check_header(name: str, value: str) -> None:
    """Raise ValueError for a header that would break out of its line."""
    if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
        raise ValueError(f"Not a header: {name!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. The body is sent as it is; `headers` win over the ones that every answer carries.

    Raises ValueError for a header that would break out of its line.
    """

    status: int = 200
    body: bytes = b"{}"
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)

    def __post_init__(self) -> None:
        if self.content_type is not JSON:
            check_header("Content-Type", self.content_type)
        if self.headers:
            for name, value in self.headers.items():
                check_header(name, value)


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer that is made while it is sent, for what would be too large to hold: JSON, status 200.

    `first` is its beginning. `rest` is asked for more once the client has taken most of what there was, and closed in
    any case. What it raises can only end the connection.
    """

    first: bytes
    rest: AsyncGenerator[bytes, None]


def json_answer(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
    """`content` as JSON. The same as returning it from an endpoint, with another status or more headers."""
    return Answer(status, orjson.dumps(content), JSON, headers)
