"""Kinds of events that we and Synapse judge differently on purpose, each with the sentence of the spec that decides.

The generator makes them all, and they are judged like any other event. But they never enter the state of a generated
room, so that a resolution compares algorithms and not these judgements once more. Nor do the events that Synapse can
be asked nothing about (`breaks_synapse`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from homeserver.domain.event import Event
from homeserver.domain.identifiers import is_user_id

_LEVEL_NAMES = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dispute:
    """One kind of event: how it is recognised, given the create event of its room, why we stay with ours, and how the
    answers begin that Synapse gives instead."""

    name: str
    why: str
    concerns: Callable[[Event, Event], bool]
    theirs: tuple[str, ...]


def _server(user_id: str) -> str:
    return user_id.partition(":")[2]


def _is_level(value: object) -> bool:
    """A level as the spec of the old versions has it: an integer, a float, or a string that is an integer."""
    if isinstance(value, str):
        return _INTEGER.fullmatch(value) is not None
    return type(value) in (int, float)


def _has_odd_levels(event: Event, create: Event) -> bool:
    if event.type != "m.room.power_levels" or event.version.integer_power_levels:
        return False
    content = event.content
    names = ("users", "events", "notifications") if event.version.check_notifications_levels else ("users", "events")
    tables = [content[name] for name in names if name in content]
    if not all(isinstance(table, Mapping) for table in tables):
        return True
    levels = [content[name] for name in _LEVEL_NAMES if name in content]
    return not all(_is_level(value) for value in [*levels, *(value for table in tables for value in table.values())])


def _names_no_users(event: Event, create: Event) -> bool:
    users = event.content.get("users")
    return event.type == "m.room.power_levels" and isinstance(users, Mapping) and not all(map(is_user_id, users))


def _invites_into_closed_room(event: Event, create: Event) -> bool:
    return (
        create.content.get("m.federate", True) is not True
        and event.type == "m.room.member"
        and event.state_key is not None
        and ":" in event.state_key
        and _server(event.sender) == _server(create.sender) != _server(event.state_key)
    )


def _federation_is_neither_on_nor_off(event: Event, create: Event) -> bool:
    odd = not isinstance(create.content.get("m.federate", True), bool)
    return odd and _server(event.sender) != _server(create.sender)


def _target_has_no_server(event: Event, create: Event) -> bool:
    return event.type == "m.room.member" and event.state_key is not None and ":" not in event.state_key


def _has_other_state_key(event: Event, create: Event) -> bool:
    return event.type == "m.room.power_levels" and event.state_key != ""


def _redacts_nothing(event: Event, create: Event) -> bool:
    return event.type == "m.room.redaction" and event.version.redaction_rule and event.redacts is None


DISPUTES = (
    Dispute(
        "a user of another server in a room that does not federate",
        "Synapse refuses every member event about a user of another server. The rule: 'If the content of the "
        "m.room.create event in the room state has the property m.federate set to false, and the sender domain of the "
        "event does not match the sender domain of the create event, reject.' It asks for the sender alone.",
        _invites_into_closed_room,
        ("deny: This room has been marked as unfederatable",),
    ),
    Dispute(
        "m.federate is neither true nor false",
        "Synapse takes everything but true for false. The rule (see above) says 'set to false'.",
        _federation_is_neither_on_nor_off,
        ("deny: This room has been marked as unfederatable",),
    ),
    Dispute(
        "a member event about somebody without a server name",
        "Synapse fails to find the server in the state key and refuses. The rule for m.room.member refuses only 'If "
        "there is no state_key property, or no membership property in content'.",
        _target_has_no_server,
        ("deny: Invalid ID",),
    ),
    Dispute(
        "levels that are no integers, until version 9",
        "Synapse reads levels with Python's int(), so true is 1 and '5_0' is 50; an empty list is to it no levels; "
        "and it falls over null where it compares levels. The rule for users: '... with values that are integers (or a "
        "string that is an integer)'; a string is 'a single base 10 integer, optionally prefixed with a single - or + "
        "character'. Of other levels the rules only compare the values; what cannot be read cannot be compared, so we "
        "refuse it, except null, which is nothing.",
        _has_odd_levels,
        ("allow", "crash: TypeError", "crash: ValueError", "crash: AttributeError"),
    ),
    Dispute(
        "power levels of users who cannot be",
        "Synapse takes all that begins with @ and has a colon. The rule: 'If the users property in content is not an "
        "object with keys that are valid user IDs ..., reject', and the domain of a user ID is a server name.",
        _names_no_users,
        ("allow",),
    ),
    Dispute(
        "power levels with another state key, or none",
        "Synapse compares such an event with the one of the same state key, so that the first may hold any level, and "
        "it falls over one without a state key. The rule compares with the 'previous m.room.power_levels event in the "
        "room', and the power levels of a room are those with the empty state key ('State Key: A zero-length string').",
        _has_other_state_key,
        ("allow", "crash: AttributeError: state_key"),
    ),
    Dispute(
        "a redaction that names no event, in versions 1 and 2",
        "Synapse allows it to everybody. The rule: 'If the sender's power level is greater than or equal to the redact "
        "level, allow. If the domain of the event_id of the event being redacted is the same as the domain of the "
        "event_id of the m.room.redaction, allow. Otherwise, reject.'",
        _redacts_nothing,
        ("allow",),
    ),
)


def is_malformed_member(event: Event) -> bool:
    """Whether a member event lacks what says which state it needs, or holds no text there. Both sides refuse most of
    these; but Synapse does so by falling over them, also where it only asks which state they need."""
    if event.type != "m.room.member":
        return False
    content = event.content
    texts = [event.state_key, content.get("membership"), content.get("join_authorised_via_users_server", "")]
    if "third_party_invite" in content:
        invite = content["third_party_invite"]
        signed = invite.get("signed") if isinstance(invite, Mapping) else None
        texts.append(signed.get("token") if isinstance(signed, Mapping) else None)
    return not all(isinstance(text, str) for text in texts)


def _has_odd_public_keys(event: Event) -> bool:
    if event.type != "m.room.third_party_invite":
        return False
    several = event.content.get("public_keys", [])
    if not isinstance(several, list) or not all(isinstance(entry, Mapping) for entry in several):
        return True
    keys = [entry.get("public_key") for entry in several]
    if "public_key" in event.content:
        keys.append(event.content["public_key"])
    return not all(isinstance(key, str) and re.fullmatch("[A-Za-z0-9+/]{43}", key) for key in keys)


def breaks_synapse(event: Event) -> bool:
    """Whether Synapse falls over every later question about a room with this event in its state. The rules have no
    word against keys that are none: such a key matches no signature."""
    return is_malformed_member(event) or _has_odd_public_keys(event)


def dispute_about(event: Event, create: Event) -> Dispute | None:
    """The entry that concerns an event, if there is one."""
    return next((dispute for dispute in DISPUTES if dispute.concerns(event, create)), None)
