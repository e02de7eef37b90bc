"""What a room takes along into the room that replaces it, and what stays behind in it.

Contents only: who sends them, and whether the rules let them in, is not decided here.
https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Collection, Mapping
from typing import Any

from homeserver.domain.identifiers import is_user_id
from homeserver.domain.power import ACTION_DEFAULTS, EVENTS_DEFAULT, STATE_DEFAULT, USERS_DEFAULT, read_level
from homeserver.domain.versions import RoomVersion

# "the recommended state events to transfer", without the power levels, which come last.
CARRIED = (
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
)
# What of the create event is carried; the room's type, and that it stays on its server.
CARRIED_CREATION = ("type", "m.federate")
# What creators who have all power get in a room where power is given by the levels alone.
ADMINISTRATOR = 100
MAX_LEVEL = 2**53 - 1

_NAMED: dict[str, int] = {
    "ban": ACTION_DEFAULTS["ban"],
    "kick": ACTION_DEFAULTS["kick"],
    "invite": ACTION_DEFAULTS["invite"],
    "redact": ACTION_DEFAULTS["redact"],
    "events_default": EVENTS_DEFAULT,
    "state_default": STATE_DEFAULT,
    "users_default": USERS_DEFAULT,
}
_MAPS = ("events", "users", "notifications")


def carried_creation(content: Mapping[str, Any], version: RoomVersion, additional: Collection[str]) -> dict[str, Any]:
    """The content of the new create event, but for the predecessor. `additional` creators count where there are such:
    "When upgrading to a room version which doesn't support additional creators, this field is ignored"."""
    creation = {key: content[key] for key in CARRIED_CREATION if key in content}
    creation["room_version"] = version.identifier
    if version.privileged_creators and additional:
        creation["additional_creators"] = list(dict.fromkeys(additional))
    return creation


def carried_join_rules(content: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """What the new version has no word for becomes the next stricter rule that it has."""
    rule = content.get("join_rule")
    if rule == "knock_restricted" and not version.knock_restricted:
        rule = "restricted" if version.restricted else "knock"
    if rule == "knock" and not version.knock:
        rule = "invite"
    if rule == "restricted" and not version.restricted:
        rule = "invite"
    return {**content, "join_rule": rule}


def carried_levels(
    content: Mapping[str, Any],
    before: RoomVersion,
    after: RoomVersion,
    creators: Collection[str],
    new_creators: Collection[str],
) -> dict[str, Any]:
    """The power levels of the new room: numbers, whatever the old version let them be, without creators whose power is
    above all levels. `creators` had such power in the old room; those who lose it become administrators."""
    named = {key: _level(before, content[key]) for key in _NAMED if key in content}
    levels: dict[str, Any] = {key: level for key, level in named.items() if level is not None}
    for key in _MAPS:
        given = content.get(key)
        if isinstance(given, dict):
            read = {name: _level(before, value) for name, value in given.items()}
            levels[key] = {name: level for name, level in read.items() if level is not None}
    users = {user_id: level for user_id, level in levels.get("users", {}).items() if is_user_id(user_id)}
    if before.privileged_creators:
        users |= {user_id: max(ADMINISTRATOR, users.get(user_id, 0)) for user_id in sorted(creators)}
    if after.privileged_creators:
        users = {user_id: level for user_id, level in users.items() if user_id not in new_creators}
    levels["users"] = users
    return levels


def closing_levels(content: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """The power levels of the room that is left behind: "setting events_default and invite to the greater of 50 and
    users_default + 1". Nothing is lowered."""
    wanted = max(50, _read(content, "users_default", version) + 1)
    closed = dict(content)
    for key in ("events_default", "invite"):
        if _read(content, key, version) < wanted:
            closed[key] = wanted
    return closed


def _read(content: Mapping[str, Any], key: str, version: RoomVersion) -> int:
    level = read_level(version, content.get(key))
    return _NAMED[key] if level is None else level


def _level(version: RoomVersion, value: object) -> int | None:
    level = read_level(version, value)
    return None if level is None else max(-MAX_LEVEL, min(MAX_LEVEL, level))
