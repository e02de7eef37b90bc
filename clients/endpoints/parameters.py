"""What the endpoints of rooms ask of paths and bodies: identifiers, objects, lists, and that nobody is suspended.

https://spec.matrix.org/v1.19/appendices/#identifier-grammar
"""

from collections.abc import Mapping
from typing import Any

from clients.endpoints.bodies import required_text
from homeserver.domain.canonical import parse_json
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.filters import EventFilter, parse_event_filter
from homeserver.domain.identifiers import fits, is_event_id, is_room_alias, is_room_id, is_user_id
from homeserver.http.request import Request
from homeserver.services.accounts.requester import Requester

# Of a filter in a query, as of one that is uploaded.
MAX_FILTER_CHARACTERS = 64 * 1024


def room_id(request: Request) -> str:
    """The room of the path. Raises BadRequest for what can be none."""
    value = request.parameters["room_id"]
    if not is_room_id(value):
        raise BadRequest("This is not a room id")
    return value


def room_id_or_alias(request: Request) -> str:
    value = request.parameters["room_id_or_alias"]
    if not is_room_id(value) and not is_room_alias(value):
        raise BadRequest("This is neither a room id nor a room alias")
    return value


def event_id(request: Request) -> str:
    value = request.parameters["event_id"]
    if not is_event_id(value):
        raise BadRequest("This is not an event id")
    return value


def transaction_id(request: Request) -> str:
    value = request.parameters["txn_id"]
    if not fits(value):
        raise BadRequest("A transaction id has at most 255 bytes")
    return value


def user_id(body: Mapping[str, Any]) -> str:
    """The `user_id` of a body. Raises BadRequest."""
    value = required_text(body, "user_id")
    if not is_user_id(value):
        raise BadRequest("user_id is not a user id")
    return value


def json_object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object that may be left out, or be null: that is the empty one."""
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{key} must be an object", "M_BAD_JSON")
    return value


def json_list(body: Mapping[str, Any], key: str, longest: int) -> list[Any]:
    """A list that may be left out, or be null: that is the empty one."""
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"{key} must be a list", "M_BAD_JSON")
    if len(value) > longest:
        raise BadRequest(f"{key} has more than {longest} entries")
    return value


def integer(body: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number from 0 on that may be left out, or be null."""
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{key} must be an integer", "M_BAD_JSON")
    if value < 0:
        raise BadRequest(f"{key} must not be negative")
    return value


def json_parameter(request: Request, name: str) -> Any:
    """A query parameter that is JSON; None if it is not there. Raises BadRequest."""
    raw = request.text(name)
    if raw is None:
        return None
    if len(raw) > MAX_FILTER_CHARACTERS:
        raise BadRequest(f"{name} has more than {MAX_FILTER_CHARACTERS} characters")
    try:
        return parse_json(raw.encode(), strict=False)
    except BadRequest as error:
        raise BadRequest(f"{name} is not JSON: {error.message}", error.errcode) from error


def event_filter(request: Request) -> EventFilter:
    """The RoomEventFilter of the query; without one, that which lets everything through."""
    return parse_event_filter(json_parameter(request, "filter"))


def refuse_suspended(requester: Requester) -> None:
    """Raises Forbidden: "the server MUST respond with a 403 ... with M_USER_SUSPENDED"."""
    if requester.is_suspended:
        raise Forbidden("You cannot perform this action while suspended", "M_USER_SUSPENDED")
