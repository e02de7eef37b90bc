"""Log lines: structured, bounded, and without secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from homeserver.telemetry import logs


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What is logged during a test; afterwards the root logger is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


log = logging.getLogger("homeserver.somewhere")


def test_json_lines_carry_the_request_and_the_fields(output: io.StringIO) -> None:
    """One object per line."""
    logs.configure("info", "json", output)
    token = logs.request_id.set("abc-1")
    log.info("sent %d\nlines", 2, extra={"fields": {"room": "!a:b", "ms": 1.5, "big": 2**70, "bad": "\udcff"}})
    logs.request_id.reset(token)
    log.debug("not at this level")
    [line] = output.getvalue().splitlines()
    content = json.loads(line)
    assert content.pop("time").endswith("Z")
    assert content == {
        "level": "INFO",
        "logger": "homeserver.somewhere",
        "message": "sent 2\nlines",
        "request_id": "abc-1",
        "room": "!a:b",
        "ms": 1.5,
        "big": str(2**70),
        "bad": "\\udcff",
    }


def test_text_lines_cannot_be_forged(output: io.StringIO) -> None:
    """What a client sends stays on the line where it is quoted."""
    logs.configure("INFO", "text", output)
    log.warning("path %s", "/a\r\n2026 ERROR fake\x1b[31m", extra={"fields": {"agent": "x\ny"}})
    [line] = output.getvalue().splitlines()
    assert "WARNING homeserver.somewhere path /a\\x0d\\x0a2026 ERROR fake\\x1b[31m agent=x\\x0ay" in line


@pytest.mark.parametrize(
    "text",
    [
        "GET /_matrix/client/v3/sync?access_token=SECRET&since=1",
        "GET /x?a=b&access_token=SECRET",
        "Authorization: Bearer SECRET",
        "authorization: bearer SECRET",
        '{"type": "m.login.password", "password": "SECRET", "user": "alice"}',
        "{'password': 'SECRET'}",
        '{"new_password":"SECRET"}',
        '{"refresh_token": "SECRET"}',
        "?loginToken=SECRET",
        "client_secret=SECRET",
    ],
)
@pytest.mark.parametrize("style", ["text", "json"])
def test_secrets_are_never_written(output: io.StringIO, text: str, style: logs.Format) -> None:
    """In the message, in a field, or in the text of an exception."""
    logs.configure("INFO", style, output)
    log.info("asked %s", text, extra={"fields": {"target": text}})
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    assert "SECRET" not in output.getvalue()
    assert output.getvalue().count("<redacted>") >= 3


def test_lines_are_bounded(output: io.StringIO) -> None:
    """A megabyte in a message is not a megabyte in the log."""
    logs.configure("INFO", "text", output)
    log.info("x" * 1_000_000, extra={"fields": {"a": "y" * 1_000_000}})
    assert len(output.getvalue()) < 2 * logs.MAX_MESSAGE + 500
    assert "more characters" in output.getvalue()


def test_configuring_again_replaces(output: io.StringIO) -> None:
    """One line per record, however often the settings are read."""
    logs.configure("INFO", "json", output)
    logs.configure("WARNING", "text", output)
    log.info("no")
    log.warning("yes")
    assert len(output.getvalue().splitlines()) == 1
