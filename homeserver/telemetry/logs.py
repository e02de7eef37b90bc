"""Structured logs on the standard library: one line per record, as JSON or for humans.

Every line carries the id of the request that caused it, taken from a context variable. A record's own fields are given
with `extra={"fields": {...}}`. Whatever is logged passes through `redact`, so that a token in a path or a password in
an exception's text never reaches a file, and through a bound on its size. Control characters are escaped: a client
cannot forge a line.

Not here: who logs what, and where the lines are stored (they go to standard error).
"""

import datetime
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import orjson

Format = Literal["text", "json"]

MAX_MESSAGE = 8 * 1024
MAX_TRACEBACK = 32 * 1024

request_id: ContextVar[str] = ContextVar("request_id", default="")

_SECRETS = re.compile(
    r"""(?ix)
    ( access_token= | refresh_token= | login_?token= | client_secret=      # in a query or a form
    | \bbearer\s+                                                         # in a header
    | ["'](?:new_)?password["']\s*:\s*["'] | ["'](?:access_|refresh_)?token["']\s*:\s*["']    # in JSON or a repr
    )
    [^&\s"',}]+
    """
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def redact(text: str) -> str:
    """`text` with the values of tokens and passwords replaced."""
    return _SECRETS.sub(r"\1<redacted>", text)


def _bounded(text: str, limit: int) -> str:
    """At most `limit` characters, without secrets. Cut first: the pattern must not run over megabytes."""
    shown = text[:limit]
    if not shown.isascii():
        # Paths come from the wire and may hold lone surrogates, which no encoder takes.
        shown = shown.encode("utf-8", "backslashreplace").decode()
    shown = redact(shown)
    return shown if len(text) <= limit else f"{shown}... ({len(text) - limit} more characters)"


def _value(value: object) -> object:
    """A field's value as something that JSON can carry."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    return _bounded(value if isinstance(value, str) else repr(value), MAX_MESSAGE)


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


class _Line(logging.Formatter):
    """What both formats share: the parts of a record, bounded and without secrets."""

    def message(self, record: logging.LogRecord) -> str:
        return _bounded(record.getMessage(), MAX_MESSAGE)

    def traceback(self, record: logging.LogRecord) -> str:
        text = self.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
        return _bounded(text, MAX_TRACEBACK)

    def fields(self, record: logging.LogRecord) -> Mapping[str, Any]:
        fields = getattr(record, "fields", None)
        if not isinstance(fields, Mapping):
            return {}
        return {str(name): _value(value) for name, value in fields.items()}

    def time(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLine(_Line):
    """One JSON object per line: time, level, logger, message, request_id, the record's fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self.message(record),
        }
        if request := request_id.get():
            line["request_id"] = request
        for name, value in self.fields(record).items():
            line.setdefault(name, value)
        if trace := self.traceback(record):
            line["traceback"] = trace
        return orjson.dumps(line).decode()


class TextLine(_Line):
    """`time LEVEL logger [request] message name=value ...`, a traceback on the lines after it."""

    def format(self, record: logging.LogRecord) -> str:
        request = request_id.get()
        parts = [self.time(record), record.levelname, record.name]
        if request:
            parts.append(f"[{request}]")
        parts.append(_escaped(self.message(record)))
        parts.extend(f"{name}={_escaped(str(value))}" for name, value in self.fields(record).items())
        line = " ".join(parts)
        trace = self.traceback(record)
        return f"{line}\n{trace}" if trace else line


def configure(level: str, style: Format = "text", stream: TextIO | None = None) -> None:
    """Send every log of the process to `stream` (standard error), from `level` on. May be called again."""
    output = logging.StreamHandler(stream if stream is not None else sys.stderr)
    output.setFormatter(JsonLine() if style == "json" else TextLine())
    root = logging.getLogger()
    for former in list(root.handlers):
        if isinstance(former.formatter, _Line):
            root.removeHandler(former)
    root.addHandler(output)
    root.setLevel(level.upper())
    # Third parties tell their inner life at INFO.
    for name in ("asyncio", "aiohttp", "alembic", "twisted"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
