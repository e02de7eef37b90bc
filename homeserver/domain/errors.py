"""The errors that the house raises, and whose fault each one is.

    ParleyError
    ├── RequestError            the caller's fault; answered as JSON with `errcode` and `error`
    │   ├── BadRequest          400
    │   ├── Unauthenticated     401
    │   ├── Forbidden           403
    │   ├── NotFound            404
    │   ├── NotAllowed          405 (a method or a key that may not be set this way)
    │   ├── Conflict            409
    │   ├── TooLarge            413
    │   ├── UnsupportedMedia    415
    │   ├── LimitExceeded       429
    │   └── Unavailable         503 (we are stopping, or the database is away)
    ├── RemoteError             another server's fault
    │   ├── RemoteRefused       it answered with an error
    │   └── RemoteUnreachable   it gave no answer
    └── BrokenInvariant         ours: a 500, logged

The status of each stands in `homeserver.http.errors` and nowhere else.
Errcodes: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
"""

from collections.abc import Mapping
from typing import Any


class ParleyError(Exception):
    """The root of everything that the house raises on purpose."""


class RequestError(ParleyError):
    """The caller asked for something that cannot be had.

    `errcode` is the spec's code, `message` the text for humans, `extra` further keys of the JSON answer.
    """

    errcode = "M_UNKNOWN"

    def __init__(self, message: str, errcode: str | None = None, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if errcode is not None:
            self.errcode = errcode
        self.extra: Mapping[str, Any] = extra or {}


class BadRequest(RequestError):
    errcode = "M_INVALID_PARAM"


class Unauthenticated(RequestError):
    errcode = "M_UNKNOWN_TOKEN"


class Forbidden(RequestError):
    errcode = "M_FORBIDDEN"


class NotFound(RequestError):
    errcode = "M_NOT_FOUND"


class NotAllowed(RequestError):
    errcode = "M_UNRECOGNIZED"


class Conflict(RequestError):
    errcode = "M_UNKNOWN"


class TooLarge(RequestError):
    errcode = "M_TOO_LARGE"


class UnsupportedMedia(RequestError):
    errcode = "M_NOT_JSON"


class LimitExceeded(RequestError):
    """Too many requests. `retry_after_ms` is a whole number of milliseconds; `limit` names the row of the table."""

    errcode = "M_LIMIT_EXCEEDED"

    def __init__(self, message: str, retry_after_ms: int, limit: str) -> None:
        super().__init__(message, extra={"retry_after_ms": retry_after_ms, "io.parley.limit": limit})
        self.retry_after_ms = retry_after_ms
        self.limit = limit


class Unavailable(RequestError):
    errcode = "M_UNKNOWN"


class RemoteError(ParleyError):
    """Another server answered wrongly, or not at all."""


class RemoteRefused(RemoteError):
    """Another server answered with an error.

    `status` is that of HTTP, `errcode` the Matrix one or None, `body` its JSON object (empty if there was none).
    """

    def __init__(self, status: int, errcode: str | None, message: str, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode
        self.message = message
        self.body: Mapping[str, Any] = body or {}


class RemoteUnreachable(RemoteError):
    """Another server could not be asked, or gave no answer that can be read."""


class BrokenInvariant(ParleyError):
    """Something that our own code promises does not hold."""
