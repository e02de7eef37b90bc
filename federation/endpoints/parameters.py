"""What the endpoints ask of paths, queries and bodies of other servers: identifiers, lists of them, numbers.

https://spec.matrix.org/v1.19/appendices/#identifier-grammar
"""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_event_id, is_room_id
from homeserver.http.request import Request

# Event ids in one list of a request.
MAX_EVENT_IDS = 1_000


def room_id(request: Request) -> str:
    """The room of the path. Raises BadRequest for what can be none."""
    value = request.parameters["room_id"]
    if not is_room_id(value):
        raise BadRequest("This is not a room id")
    return value


def event_id(value: str) -> str:
    if not is_event_id(value):
        raise BadRequest("This is not an event id")
    return value


def event_ids(values: object, name: str) -> Sequence[str]:
    """A list of event ids; raises BadRequest if it is none, or too long."""
    if not isinstance(values, list | tuple):
        raise BadRequest(f"{name} must be a list", "M_BAD_JSON")
    if len(values) > MAX_EVENT_IDS:
        raise BadRequest(f"{name} has more than {MAX_EVENT_IDS} entries")
    if not all(is_event_id(one) for one in values):
        raise BadRequest(f"{name} must hold event ids")
    return values


def integer(body: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number from 0 on that may be left out, or be null."""
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRequest(f"{key} must be an integer that is not negative")
    return value


def text(body: Mapping[str, Any], key: str) -> str | None:
    """A string that may be left out, or be null."""
    value = body.get(key)
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise BadRequest(f"{key} must be a string", "M_BAD_JSON")
    return value
