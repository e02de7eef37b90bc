"""Power levels: how much a user may do in a room, and how much each deed asks.

A `PowerLevels` reads the `m.room.power_levels` event of a state, or the defaults where there is none. It reads
lazily, one value per question, so that making one costs nothing and there is nothing to cache. It does not judge
whether the event itself was allowed: that is `homeserver.domain.authorization.power_levels`.
https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from homeserver.domain.event import Event
from homeserver.domain.versions import RoomVersion

Action = Literal["ban", "kick", "invite", "redact"]

ACTION_DEFAULTS: Mapping[Action, int] = {"ban": 50, "kick": 50, "invite": 0, "redact": 50}
CREATOR_DEFAULT = 100
USERS_DEFAULT = 0
EVENTS_DEFAULT = 0
STATE_DEFAULT = 50
NOTIFICATION_DEFAULT = 50

# "A single base 10 integer, optionally prefixed with a single - or +, with any number of leading or trailing
# whitespace characters." More digits than a double can hold are no level.
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,400}\s*", re.ASCII)
# The first integer beyond the finite doubles.
_BEYOND_DOUBLE = 2**1024


def read_level(version: RoomVersion, value: object) -> int | None:
    """The level that a value of a power levels event stands for, or None if it stands for none.

    Where levels need not be integers, strings hold integers and floats are cut at the decimal point.
    """
    if type(value) is int:
        return value if version.integer_power_levels or abs(value) < _BEYOND_DOUBLE else None
    if version.integer_power_levels:
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        level = int(value)
        return level if abs(level) < _BEYOND_DOUBLE else None
    return None


def creators(version: RoomVersion, create: Event | None) -> frozenset[str]:
    """The users who made the room: one, or with `additional_creators` several where creators are privileged."""
    if create is None:
        return frozenset()
    if not version.creator_is_sender:
        creator = create.content.get("creator")
        return frozenset((creator,)) if isinstance(creator, str) else frozenset()
    if not version.privileged_creators:
        return frozenset((create.sender,))
    additional = (user_id for user_id in _additional_creators(create) if isinstance(user_id, str))
    return frozenset((create.sender, *additional))


def _additional_creators(create: Event) -> list[object]:
    additional = create.content.get("additional_creators")
    return additional if isinstance(additional, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class PowerLevels:
    """The power levels of one state of a room. A value that cannot be read counts as absent."""

    __slots__ = ("_content", "_create", "_events", "_users", "_version")

    def __init__(self, version: RoomVersion, create: Event | None, power_levels: Event | None) -> None:
        self._version = version
        self._create = create
        self._content: Mapping[str, Any] | None = None if power_levels is None else power_levels.content
        content = self._content or {}
        self._users = _mapping(content.get("users"))
        self._events = _mapping(content.get("events"))

    def of_user(self, user_id: str) -> int | float:
        """The level of a user; `math.inf` for privileged creators."""
        if self._version.privileged_creators and self._is_creator(user_id):
            return math.inf
        if self._content is None:
            # "If the room contains no m.room.power_levels event, the room's creator has a power level of 100."
            return CREATOR_DEFAULT if self._is_creator(user_id) else USERS_DEFAULT
        level = read_level(self._version, self._users.get(user_id))
        return self._named("users_default", USERS_DEFAULT) if level is None else level

    def for_event(self, event_type: str, is_state: bool) -> int:
        """The level that sending an event of this type asks."""
        level = read_level(self._version, self._events.get(event_type))
        if level is not None:
            return level
        return (
            self._named("state_default", STATE_DEFAULT) if is_state else self._named("events_default", EVENTS_DEFAULT)
        )

    def for_action(self, action: Action) -> int:
        """The level that this deed asks."""
        return self._named(action, ACTION_DEFAULTS[action])

    def for_notification(self, key: str) -> int:
        """The level that triggering this kind of notification asks, "room" being the one the spec names."""
        level = read_level(self._version, _mapping((self._content or {}).get("notifications")).get(key))
        return NOTIFICATION_DEFAULT if level is None else level

    def _named(self, name: str, default: int) -> int:
        if self._content is None:
            return default
        level = read_level(self._version, self._content.get(name))
        return default if level is None else level

    def _is_creator(self, user_id: str) -> bool:
        create = self._create
        if create is None:
            return False
        if not self._version.creator_is_sender:
            return user_id in creators(self._version, create)
        if user_id == create.sender:
            return True
        return self._version.privileged_creators and user_id in _additional_creators(create)
