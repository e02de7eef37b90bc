"""What users of this server may not send, although the rules of rooms would let it in: the shapes that the spec asks
servers to refuse from their own clients. What comes from other servers never passes here.
"""

from collections.abc import Collection, Mapping
from typing import Any

from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import domain_of, is_event_id, is_room_alias, is_user_id
from homeserver.services.rooms.invite_policy import check_invite
from homeserver.services.rooms.room import LockedRoom

CANONICAL_ALIAS = "m.room.canonical_alias"
MAX_ALIASES = 100
# Of aliases of other servers that are named anew at once: each is asked for there.
MAX_ASKED = 10


def check_message(type: str, content: Mapping[str, Any]) -> None:
    """Raises BadRequest.

    "Homeservers SHOULD reject m.room.message events which don't have a msgtype key, or which don't have a textual body
    key, with an HTTP status code of 400."
    https://spec.matrix.org/v1.19/client-server-api/#mroommessage
    """
    if type == "m.room.message":
        for key in ("msgtype", "body"):
            if not isinstance(content.get(key), str):
                raise BadRequest(f"{key} of an m.room.message must be a string", "M_BAD_JSON")
    elif type == "m.room.redaction" and not is_event_id(content.get("redacts")):
        raise BadRequest("redacts of an m.room.redaction must be an event id")


def check_state(
    room: LockedRoom, type: str, state_key: str, content: Mapping[str, Any], confirmed: Collection[str] = ()
) -> None:
    """Raises BadRequest, for aliases that are not this room's with M_BAD_ALIAS; Forbidden for an invite not wanted.

    `confirmed` are the aliases of other servers that lead to the room: see `aliases_to_ask`.
    """
    if type == "m.room.member" and not is_user_id(state_key):
        raise BadRequest("The state key of an m.room.member is a user id")
    if type == "m.room.member" and content.get("membership") == "invite":
        check_invite(room.store, state_key)
    if type == CANONICAL_ALIAS and state_key == "":
        _check_aliases(room, content, confirmed)


def aliases_to_ask(room: LockedRoom, sender: str, content: Mapping[str, Any], server_name: str) -> list[str]:
    """Those aliases of an m.room.canonical_alias that are named anew, and are of other servers; none if the sender may
    not name the room anyway. Raises BadRequest."""
    if room.power.of_user(sender) < room.power.for_event(CANONICAL_ALIAS, True):
        return []
    standing = room.lookup((CANONICAL_ALIAS, ""))
    before = frozenset() if standing is None else _standing_aliases(standing.content)
    new = [alias for alias in dict.fromkeys(_aliases(content)) if alias not in before and is_room_alias(alias)]
    asked = [alias for alias in new if domain_of(alias) != server_name]
    if len(asked) > MAX_ASKED:
        raise BadRequest(f"At most {MAX_ASKED} aliases of other servers can be named at once")
    return asked


def _check_aliases(room: LockedRoom, content: Mapping[str, Any], confirmed: Collection[str]) -> None:
    """Aliases that were named before may stay, also those that no longer lead here.

    https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
    """
    standing = room.lookup((CANONICAL_ALIAS, ""))
    before = frozenset() if standing is None else _standing_aliases(standing.content)
    named = _aliases(content)
    if len(named) > MAX_ALIASES:
        raise BadRequest(f"At most {MAX_ALIASES} aliases can be named")
    for alias in dict.fromkeys(named):
        if not is_room_alias(alias):
            raise BadRequest(f"{alias!r} is not a room alias")
        if alias in before or alias in confirmed:
            continue
        if room.store.directory.find_room_id(alias) != room.row.room_id:
            raise BadRequest(f"{alias} is not an alias of this room", "M_BAD_ALIAS")


def _standing_aliases(content: Mapping[str, Any]) -> frozenset[str]:
    """Those that stand in the room, where other servers may have written anything."""
    others = content.get("alt_aliases")
    found = [content.get("alias"), *(others if isinstance(others, list) else ())]
    return frozenset(one for one in found if isinstance(one, str))


def _aliases(content: Mapping[str, Any]) -> list[str]:
    """Those that a content names. Raises BadRequest for what can be none."""
    alias, others = content.get("alias"), content.get("alt_aliases")
    if not isinstance(alias, str | None):
        raise BadRequest("alias must be a string")
    if not isinstance(others, list | None) or not all(isinstance(one, str) for one in others or ()):
        raise BadRequest("alt_aliases must be a list of strings")
    return [*([alias] if alias else []), *(others or [])]
