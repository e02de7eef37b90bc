"""The redaction algorithm: what is left of an event once everything non-essential is stripped.

Hashes and signatures are made over this form, so one wrong key gives every server another event id. It says nothing
about who may redact what, and changes no stored event.
https://spec.matrix.org/v1.19/client-server-api/#redactions, and "Redactions" of each room version
"""

from collections.abc import Mapping
from typing import Any

from homeserver.domain.versions import RoomVersion

_TOP_LEVEL = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_TOP_LEVEL_BEFORE_UPDATE = _TOP_LEVEL | {"prev_state", "origin", "membership"}

_NOTHING: frozenset[str] = frozenset()
_MEMBERSHIP = frozenset({"membership"})
_CREATOR = frozenset({"creator"})
_JOIN_RULE = frozenset({"join_rule"})
_ALIASES = frozenset({"aliases"})
_HISTORY_VISIBILITY = frozenset({"history_visibility"})
_REDACTS = frozenset({"redacts"})
_POWER_LEVELS = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)


def redact(version: RoomVersion, pdu: Mapping[str, Any]) -> dict[str, Any]:
    """The redacted copy of an event. It shares the values that survive with `pdu`, which is left as it is."""
    kept = _TOP_LEVEL if version.updated_redaction else _TOP_LEVEL_BEFORE_UPDATE
    redacted = {key: value for key, value in pdu.items() if key in kept}
    if "content" in redacted:
        redacted["content"] = _redact_content(version, pdu.get("type"), redacted["content"])
    return redacted


def _redact_content(version: RoomVersion, event_type: object, content: Mapping[str, Any]) -> Mapping[str, Any]:
    if event_type == "m.room.create" and version.updated_redaction:
        return content
    kept = _content_keys(version, event_type)
    redacted = {key: content[key] for key in kept if key in content}
    if event_type == "m.room.member" and version.updated_redaction:
        # "Additionally, it allows the `signed` key of the `third_party_invite` key."
        invite = content.get("third_party_invite")
        if isinstance(invite, Mapping):
            redacted["third_party_invite"] = {key: invite[key] for key in ("signed",) if key in invite}
    return redacted


def _content_keys(version: RoomVersion, event_type: object) -> frozenset[str]:
    """The keys of the content of an event of this type that survive."""
    match event_type:
        case "m.room.member":
            return _MEMBERSHIP | {"join_authorised_via_users_server"} if version.keep_join_authorised else _MEMBERSHIP
        case "m.room.create":
            return _CREATOR
        case "m.room.join_rules":
            return _JOIN_RULE | {"allow"} if version.keep_join_rules_allow else _JOIN_RULE
        case "m.room.power_levels":
            return _POWER_LEVELS | {"invite"} if version.updated_redaction else _POWER_LEVELS
        case "m.room.history_visibility":
            return _HISTORY_VISIBILITY
        case "m.room.aliases":
            return _ALIASES if version.aliases_rule else _NOTHING
        case "m.room.redaction":
            return _REDACTS if version.updated_redaction else _NOTHING
        case _:
            return _NOTHING
