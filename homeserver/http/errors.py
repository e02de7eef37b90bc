"""The one place that turns an error into a status and a JSON object.

    RequestError
    ├── RequestTimeout          408: a body that came too slowly
    └── NotAllowed
        └── MethodNotAllowed    405: the path exists, the method does not

are the two that only the wire knows.

https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
"""

from collections.abc import Mapping

from homeserver.domain import errors
from homeserver.http.answers import NO_HEADERS, Answer, json_answer

MAX_MESSAGE = 1024


class RequestTimeout(errors.RequestError):
    """The client sent its body too slowly."""


class MethodNotAllowed(errors.NotAllowed):
    """A known path, asked with a method that it does not have. `allow` lists those that it has."""

    def __init__(self, allow: str) -> None:
        super().__init__("Method not allowed")
        self.allow = allow


STATUS: Mapping[type[errors.RequestError], int] = {
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.NotAllowed: 405,
    RequestTimeout: 408,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.LimitExceeded: 429,
    errors.Unavailable: 503,
}


def _status(kind: type[errors.RequestError]) -> int:
    """The status of an error's nearest declared class: a refinement of `Forbidden` is a 403 too."""
    for ancestor in kind.__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    return 400


def request_error(error: errors.RequestError) -> Answer:
    """The answer to a request that was at fault."""
    # A message may quote what the client sent: bounded, and never a lone surrogate that no encoder takes.
    message = error.message[:MAX_MESSAGE].encode("utf-8", "replace").decode()
    content = {**error.extra, "errcode": error.errcode, "error": message}
    return json_answer(content, _status(type(error)), _headers(error))


def _headers(error: errors.RequestError) -> Mapping[str, str]:
    if isinstance(error, errors.LimitExceeded):
        # Whole seconds, rounded up: "wait a while" must never end too early.
        return {"Retry-After": str(max(1, -(-error.retry_after_ms // 1000)))}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": error.allow}
    return NO_HEADERS


def remote_error() -> Answer:
    """The answer when another server failed us. What it said is not repeated: it is nobody's business here."""
    return json_answer({"errcode": "M_UNKNOWN", "error": "Another server did not answer as it should"}, 502)


def internal_error() -> Answer:
    """The answer to what nobody foresaw. It never says more than this."""
    return json_answer({"errcode": "M_UNKNOWN", "error": "Internal server error"}, 500)
