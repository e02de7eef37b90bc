"""The JSON in the frames: reading what clients say, writing what they are told.

Text in, values out. Not here: what follows from them (`socket`).
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from homeserver.domain.canonical import parse_json
from homeserver.domain.errors import BadRequest
from homeserver.http.answers import Answer

MAX_ID = 64

# What a frame with an id may ask for: one of these.
KINDS = ("sync", "cancel", "request", "auth")

Query = dict[str, list[str]]


class Malformed(Exception):
    """No frame of this protocol: there is nothing to answer, so the socket is closed."""


def read_frame(message: bytes) -> dict[str, Any]:
    """Raises Malformed."""
    try:
        frame = parse_json(message, False)
    except BadRequest as error:
        raise Malformed(error.message) from error
    if not isinstance(frame, dict):
        raise Malformed("A frame is a JSON object")
    return frame


def frame_id(frame: Mapping[str, Any]) -> str:
    """Raises Malformed for a frame without a usable id: it could not be answered."""
    id = frame.get("id")
    if not isinstance(id, str) or len(id) > MAX_ID:
        raise Malformed(f"A frame needs an id, a string of at most {MAX_ID} characters")
    return id


def ping_number(frame: Mapping[str, Any]) -> int | float | None:
    """The number of a ping; None if the frame is none."""
    if "id" in frame:
        return None
    number = frame.get("ping")
    return number if isinstance(number, int | float) and not isinstance(number, bool) else None


def frame_kind(frame: Mapping[str, Any]) -> str | None:
    """What it asks for; None if that is nothing that we know, or more than one thing."""
    kinds = [kind for kind in KINDS if kind in frame]
    return kinds[0] if len(kinds) == 1 else None


def json_object(value: Any, name: str) -> dict[str, Any]:
    """Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object", "M_BAD_JSON")
    return value


def query_of(values: Mapping[str, Any]) -> Query:
    """The members of an object as the values of a query: a list is several, an object is its JSON, null is none.

    Raises BadRequest for U+0000, which no query can hold.
    """
    query: Query = {}
    for name, value in values.items():
        texts = [_text(one) for one in (value if isinstance(value, list) else (value,)) if one is not None]
        if "\x00" in name or any("\x00" in text for text in texts):
            raise BadRequest("The query must not contain U+0000")
        if texts:
            query[name] = texts
    return query


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def dumps(value: Any) -> bytes:
    """JSON of a value that was parsed from JSON: whatever its integers, which orjson writes only up to 64 bits."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False).encode()


def answer_frame(id: str, answer: Answer) -> bytes:
    """The one answer to the frame with that id. The body of an answer is JSON already."""
    return b'{"id":%b,"status":%d,"body":%b}' % (orjson.dumps(id), answer.status, answer.body)


def body_frame(id: str, body: bytes) -> bytes:
    """As `answer_frame`, of a good answer."""
    return b'{"id":%b,"status":200,"body":%b}' % (orjson.dumps(id), body)


def error_frame(answer: Answer) -> bytes:
    """Told to whoever opened a socket with a token that is no good."""
    return b'{"error":{"status":%d,"body":%b}}' % (answer.status, answer.body)


def frame(**members: Any) -> bytes:
    return dumps(members)
