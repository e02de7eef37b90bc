"""The body of POST /createRoom, read into what the house is asked for.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
"""

from collections.abc import Mapping
from typing import Any

from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.parameters import json_list, json_object
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.identifiers import is_user_id
from homeserver.domain.versions import room_version
from homeserver.services.rooms.create import MAX_INVITES, RoomRequest

PRESETS = ("private_chat", "public_chat", "trusted_private_chat")
VISIBILITIES = ("private", "public")
MAX_INITIAL_STATE = 250
# "The server will overwrite the following keys: creator, room_version."
OVERWRITTEN = ("creator", "room_version")


def read_room_request(body: Mapping[str, Any], default_version: str) -> RoomRequest:
    """Raises BadRequest, naming the key; Forbidden for what only a server with an identity server can do."""
    visibility = _choice(body, "visibility", VISIBILITIES, "private")
    preset = _choice(body, "preset", PRESETS, "public_chat" if visibility == "public" else "private_chat")
    if json_list(body, "invite_3pid", MAX_INVITES):
        raise Forbidden(
            "Nobody can be invited by e-mail or phone number: this server has no identity server", "M_THREEPID_DENIED"
        )
    return RoomRequest(
        version=room_version(text(body, "room_version") or default_version),
        preset=preset,
        published=visibility == "public",
        alias_localpart=_alias_localpart(body),
        name=text(body, "name"),
        topic=text(body, "topic"),
        invite=_invited(body),
        is_direct=flag(body, "is_direct", False),
        creation_content=_creation_content(body),
        initial_state=[_state_event(one) for one in json_list(body, "initial_state", MAX_INITIAL_STATE)],
        power_levels=json_object(body, "power_level_content_override"),
    )


def _choice(body: Mapping[str, Any], key: str, choices: tuple[str, ...], default: str) -> str:
    value = text(body, key)
    if value is None:
        return default
    if value not in choices:
        raise BadRequest(f"{key} must be one of {', '.join(choices)}")
    return value


def _alias_localpart(body: Mapping[str, Any]) -> str | None:
    localpart = text(body, "room_alias_name")
    if localpart is None:
        return None
    if not localpart or ":" in localpart or any(character.isspace() for character in localpart):
        raise BadRequest("room_alias_name is the part of an alias between # and :, without white space")
    return localpart


def _invited(body: Mapping[str, Any]) -> list[str]:
    invited = json_list(body, "invite", MAX_INVITES)
    if not all(isinstance(one, str) for one in invited):
        raise BadRequest("invite must be a list of user ids", "M_BAD_JSON")
    if not all(is_user_id(one) for one in invited):
        raise BadRequest("invite holds something that is not a user id")
    return invited


def _creation_content(body: Mapping[str, Any]) -> dict[str, Any]:
    content = json_object(body, "creation_content")
    if not isinstance(content.get("m.federate", True), bool):
        raise BadRequest("m.federate must be true or false", "M_BAD_JSON")
    text(content, "type")
    return {key: value for key, value in content.items() if key not in OVERWRITTEN}


def _state_event(raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise BadRequest("initial_state must be a list of objects", "M_BAD_JSON")
    if "content" not in raw:
        raise BadRequest("content is missing in initial_state", "M_MISSING_PARAM")
    if not isinstance(raw["content"], dict):
        raise BadRequest("content in initial_state must be an object", "M_BAD_JSON")
    return {
        "type": required_text(raw, "type"),
        "state_key": text(raw, "state_key") or "",
        "content": raw["content"],
    }
