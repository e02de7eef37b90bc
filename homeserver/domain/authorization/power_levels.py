"""The rules for `m.room.power_levels` events: nobody can hand out, or take away, more power than they have.
https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules (rule 10)
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from homeserver.domain.event import Event
from homeserver.domain.power import PowerLevels, creators, read_level
from homeserver.domain.versions import RoomVersion

_NAMED = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def authorize_power_levels(event: Event, previous: Event | None, create: Event, power: PowerLevels) -> str | None:
    """None if a power levels event may follow `previous` in a room with these `power` levels, otherwise the reason."""
    version, new = event.version, event.content
    why = _check_shape(version, new)
    if why is not None:
        return why
    # 10.4: creators stand above the levels.
    if version.privileged_creators and not creators(version, create).isdisjoint(new.get("users", {})):
        return "The power levels name a creator of the room."
    # 10.5
    if previous is None:
        return None
    why = _check_readable(version, new)
    if why is not None:
        return why
    level = power.of_user(event.sender)
    return (
        _check_named(version, previous.content, new, level)
        or _check_nested(version, previous.content, new, level)
        or _check_users(version, previous.content, new, level, event.sender)
    )


def _check_shape(version: RoomVersion, content: Mapping[str, Any]) -> str | None:
    """Rules 10.1 to 10.3: what every power levels event must look like."""
    if version.integer_power_levels:
        why = _check_readable(version, content)
        if why is not None:
            return why
    elif any(_is_out_of_range(value) for _, value in _levels_in(content)):
        return "The power levels hold a number that no double can hold."
    if "users" in content:
        users = content["users"]
        if not isinstance(users, Mapping):
            return "The users of the power levels are not an object."
        # COMPAT: of a "valid user ID" no more is asked than others ask, or old rooms with odd ids in them would split.
        if not all(user_id.startswith("@") and ":" in user_id for user_id in users):
            return "The users of the power levels hold a key that is no user id."
        if any(read_level(version, value) is None for value in users.values()):
            return "The users of the power levels hold a value that is no integer."
    return None


def _check_readable(version: RoomVersion, content: Mapping[str, Any]) -> str | None:
    """Whether all levels can be read.

    Where levels must be integers, rules 10.1 and 10.2 ask it of every event. NOTSPEC: of older rooms we ask it of
    events that change levels, because a value that nobody can read cannot be compared with the sender's level.
    COMPAT: there, null is the same as nothing. Rooms in which no rule looks at `notifications` may hold anything there.
    """
    if not version.check_notifications_levels:
        content = {name: value for name, value in content.items() if name != "notifications"}
    for name in ("events", "notifications"):
        if name in content and not isinstance(content[name], Mapping):
            return f"The {name} of the power levels are not an object."
    for name, value in _levels_in(content):
        if value is None and not version.integer_power_levels:
            continue
        if read_level(version, value) is None:
            return f"The level {name!r} of the power levels is no integer."
    return None


def _levels_in(content: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The named levels and those of events and notifications, as they were written."""
    for name in _NAMED:
        if name in content:
            yield name, content[name]
    for name in ("events", "notifications"):
        nested = content.get(name)
        if isinstance(nested, Mapping):
            yield from nested.items()


def _is_out_of_range(value: object) -> bool:
    # "Values outside the range represented by a double cause the power level event to be rejected, as do Infinity,
    # -Infinity and NaN."
    if isinstance(value, float):
        return not math.isfinite(value)
    return type(value) is int and abs(value) >= 2**1024


def _check_named(
    version: RoomVersion, old: Mapping[str, Any], new: Mapping[str, Any], level: int | float
) -> str | None:
    """10.6: neither the old nor the new value of an altered level may exceed the sender's."""
    for name in _NAMED:
        before, after = read_level(version, old.get(name)), read_level(version, new.get(name))
        if before == after:
            continue
        if _exceeds(before, level) or _exceeds(after, level):
            return f"The sender may not change the level {name!r}."
    return None


def _check_nested(
    version: RoomVersion, old: Mapping[str, Any], new: Mapping[str, Any], level: int | float
) -> str | None:
    """10.7 and 10.8: the same for each event type and each kind of notification."""
    for name in ("events", "notifications") if version.check_notifications_levels else ("events",):
        for key, before, after in _changes(version, old.get(name), new.get(name)):
            if _exceeds(before, level) or _exceeds(after, level):
                return f"The sender may not change the level of {key!r} in {name}."
    return None


def _check_users(
    version: RoomVersion, old: Mapping[str, Any], new: Mapping[str, Any], level: int | float, sender: str
) -> str | None:
    for user_id, before, after in _changes(version, old.get("users"), new.get("users")):
        # 10.9: an equal cannot be demoted, but everybody can step down.
        if user_id != sender and before is not None and before >= level:
            return f"The sender may not change the level of {user_id}, who is no less powerful."
        # 10.10
        if _exceeds(after, level):
            return f"The sender may not give {user_id} more power than their own."
    return None


def _changes(version: RoomVersion, old: object, new: object) -> Iterator[tuple[str, int | None, int | None]]:
    """The entries that were added, changed or removed, with what they were and are."""
    before = old if isinstance(old, Mapping) else {}
    after = new if isinstance(new, Mapping) else {}
    for key in sorted(before.keys() | after.keys()):
        pair = read_level(version, before.get(key)), read_level(version, after.get(key))
        if pair[0] != pair[1]:
            yield key, *pair


def _exceeds(value: int | None, level: int | float) -> bool:
    return value is not None and value > level
