"""Answers and errors as bytes."""

import inspect

import orjson
import pytest

from homeserver.domain import errors
from homeserver.http.answers import Answer, json_answer
from homeserver.http.errors import STATUS, MethodNotAllowed, RequestTimeout, internal_error, remote_error, request_error
from homeserver.http.wire import Heads


class Noon:
    """A clock that stands."""

    def now_ms(self) -> int:
        return 1_700_000_000_000


def headers_of(answer: Answer, *, close: bool = False) -> dict[str, str]:
    head = Heads(Noon()).head(answer, close=close).decode()
    assert head.endswith("\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])


def test_json_is_the_default() -> None:
    """A plain answer carries its type, length, date, and what every answer carries."""
    assert headers_of(json_answer({"a": 1})) == {
        "Content-Type": "application/json",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
        "Access-Control-Expose-Headers": "Retry-After",
        "Access-Control-Max-Age": "86400",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": "7",
        "Date": "Tue, 14 Nov 2023 22:13:20 GMT",
    }


def test_own_headers_win() -> None:
    """An answer may replace what every answer carries, whatever the case of the name."""
    answer = Answer(200, b"<p>", "text/html; charset=utf-8", {"cache-control": "max-age=60", "ETag": '"x"'})
    headers = headers_of(answer, close=True)
    assert headers["Cache-Control"] == "max-age=60"
    assert headers["ETag"] == '"x"'
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Connection"] == "close"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_say_nothing_about_one(status: int) -> None:
    """No Content-Type, no Content-Length."""
    headers = headers_of(Answer(status, b""))
    assert "Content-Length" not in headers


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X\r\nY", "a"), ("", "a"), ("X", "\x00"), ("X", "☃")],
)
def test_headers_that_would_break_out_of_their_line_are_refused(name: str, value: str) -> None:
    """A value from a client can never become a header of its own."""
    with pytest.raises(ValueError, match="Not a header"):
        Answer(302, b"", headers={name: value})
    with pytest.raises(ValueError, match="Not a header"):
        Answer(200, b"", content_type="text/plain\r\nX: y")


def test_every_request_error_has_its_own_status() -> None:
    """A new class of error without a status would silently become a 400."""
    declared = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.RequestError) and kind is not errors.RequestError
    }
    assert declared | {RequestTimeout} == set(STATUS)


@pytest.mark.parametrize(
    ("error", "status", "content"),
    [
        (errors.BadRequest("a"), 400, {"errcode": "M_INVALID_PARAM", "error": "a"}),
        (errors.BadRequest("a", "M_BAD_JSON"), 400, {"errcode": "M_BAD_JSON", "error": "a"}),
        (
            errors.Unauthenticated("a", extra={"soft_logout": True}),
            401,
            {"errcode": "M_UNKNOWN_TOKEN", "error": "a", "soft_logout": True},
        ),
        (errors.Forbidden("a", extra={"errcode": "X", "error": "y"}), 403, {"errcode": "M_FORBIDDEN", "error": "a"}),
        (errors.NotFound("a"), 404, {"errcode": "M_NOT_FOUND", "error": "a"}),
        (MethodNotAllowed("GET"), 405, {"errcode": "M_UNRECOGNIZED", "error": "Method not allowed"}),
        (RequestTimeout("a"), 408, {"errcode": "M_UNKNOWN", "error": "a"}),
        (errors.Conflict("a"), 409, {"errcode": "M_UNKNOWN", "error": "a"}),
        (errors.TooLarge("a"), 413, {"errcode": "M_TOO_LARGE", "error": "a"}),
        (errors.UnsupportedMedia("a"), 415, {"errcode": "M_NOT_JSON", "error": "a"}),
        (errors.Unavailable("a"), 503, {"errcode": "M_UNKNOWN", "error": "a"}),
        (errors.BadRequest("\udcff" + "x" * 5000), 400, {"errcode": "M_INVALID_PARAM", "error": "?" + "x" * 1023}),
    ],
)
def test_errors_become_standard_error_responses(error: errors.RequestError, status: int, content: object) -> None:
    """`errcode` and `error` are always there, further keys follow, and the text is bounded."""
    answer = request_error(error)
    assert (answer.status, orjson.loads(answer.body)) == (status, content)


def test_refinements_have_the_status_of_their_kind() -> None:
    """A more special Forbidden needs no line of its own."""

    class Banned(errors.Forbidden):
        pass

    assert request_error(Banned("a")).status == 403


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")])
def test_limits_say_when_to_come_back(milliseconds: int, seconds: str) -> None:
    """`Retry-After` in whole seconds, never too early; the deprecated field is there too."""
    answer = request_error(errors.LimitExceeded("a", milliseconds, "rc_login"))
    assert answer.status == 429
    assert answer.headers == {"Retry-After": seconds}
    assert orjson.loads(answer.body)["retry_after_ms"] == milliseconds


def test_what_is_not_the_clients_fault_says_little() -> None:
    """Neither another server's words nor ours reach the client."""
    assert remote_error().status == 502
    assert internal_error().status == 500
    assert orjson.loads(internal_error().body) == {"errcode": "M_UNKNOWN", "error": "Internal server error"}
