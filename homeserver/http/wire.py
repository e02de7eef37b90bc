"""An answer as the bytes of HTTP/1.1.

Most answers are JSON without headers of their own, so what they share is put together once. Nothing here compresses.

https://www.rfc-editor.org/rfc/rfc9112
"""

from email.utils import formatdate
from http import HTTPStatus

from homeserver.http import cors
from homeserver.http.answers import JSON, Answer
from homeserver.ports import Clock

# Answers hold messages and tokens: no cache may keep them, no browser may guess at what they are.
_EVERY_ANSWER = {**cors.HEADERS, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"Connection: close\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


def _lines(headers: dict[str, str]) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")


_JSON_LINES = _lines({"Content-Type": JSON, **_EVERY_ANSWER})


class Heads:
    """Writes the heads of answers. Keeps the `Date` of the current second."""

    __slots__ = ("_clock", "_date", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._date = b""

    def head(self, answer: Answer, *, close: bool) -> bytes:
        """Status line and headers, up to the empty line."""
        if answer.content_type is JSON and not answer.headers:
            headers = _JSON_LINES
        else:
            headers = _own_lines(answer)
        if has_body(answer.status):
            length = b"Content-Length: %d\r\n" % len(answer.body)
        else:
            length = b""
        end = _CLOSE if close else b""
        return b"%b%b%b%b%b\r\n" % (_STATUS_LINES[answer.status], headers, length, self._date_line(), end)

    def streamed(self, *, chunked: bool, close: bool) -> bytes:
        """The head of a StreamedAnswer. Not `chunked`: its end is that of the connection."""
        framing = _CHUNKED if chunked else b""
        end = _CLOSE if close else b""
        return b"%b%b%b%b%b\r\n" % (_STATUS_LINES[200], _JSON_LINES, framing, self._date_line(), end)

    def _date_line(self) -> bytes:
        second = self._clock.now_ms() // 1000
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._date


def chunk(part: bytes) -> bytes:
    """A piece of a chunked body, which is not empty."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def has_body(status: int) -> bool:
    """Whether an answer of this status carries a body (to anything but HEAD)."""
    return status not in (204, 304)


def _own_lines(answer: Answer) -> bytes:
    """The headers of an answer that is not plain JSON; its own win."""
    headers = dict(_EVERY_ANSWER)
    if has_body(answer.status):
        headers["Content-Type"] = answer.content_type
    for name, value in answer.headers.items():
        replaced = next((known for known in headers if known.lower() == name.lower()), name)
        headers[replaced] = value
    return _lines(headers)
