"""Room versions 1 to 12 as frozen data, each made from the one before.

The rules ask flags, never version numbers.
https://spec.matrix.org/v1.19/rooms/
"""

from dataclasses import dataclass, replace
from enum import Enum

from homeserver.domain.errors import BadRequest


class EventIdFormat(Enum):
    """How events of a room get their ids."""

    CHOSEN = "chosen"  # v1, v2: the sending server picks `$opaque:domain` and writes it into the event
    HASH = "hash"  # v3: "$" + unpadded base64 of the reference hash
    URL_SAFE_HASH = "url-safe hash"  # v4 on: the same in the URL-safe alphabet


class Resolution(Enum):
    """The state resolution algorithm of a room."""

    V1 = "1"
    V2 = "2"
    V2_1 = "2.1"


@dataclass(frozen=True, slots=True)
class RoomVersion:
    """What distinguishes the rooms of one version from those of others."""

    identifier: str

    event_ids: EventIdFormat = EventIdFormat.CHOSEN
    # Format: prev_events and auth_events are [id, {"sha256": hash}] pairs (v1, v2) or plain ids (v3 on).
    reference_pairs: bool = True
    # v6 on: integers within ±(2^53-1), no floats; depth likewise.
    strict_canonical_json: bool = False
    # v12 on: the room id is the create event's reference hash, and the create event carries no room_id.
    room_id_is_create_hash: bool = False

    resolution: Resolution = Resolution.V1

    # v5 on: a signature counts only if the key was valid at the event's origin_server_ts.
    enforce_key_validity: bool = False

    # v1 to v5: m.room.aliases has an authorisation rule of its own and survives redaction partly.
    aliases_rule: bool = True
    # v1, v2: redactions are authorised by level or by the domain of the redacted event's id.
    redaction_rule: bool = True
    # v6 on: the `notifications` of power levels are checked when they change.
    check_notifications_levels: bool = False
    # v7 on: membership and join rule "knock".
    knock: bool = False
    # v8 on: join rule "restricted".
    restricted: bool = False
    # v10 on: join rule "knock_restricted".
    knock_restricted: bool = False
    # v10 on: power levels must be integers, not strings or floats.
    integer_power_levels: bool = False
    # v11 on: the creator is the create event's sender; `content.creator` is gone.
    creator_is_sender: bool = False
    # v12 on: creators have infinite power; power levels must not name them; auth_events must not hold create.
    privileged_creators: bool = False

    # Redaction: what survives.
    redacts_in_content: bool = False  # v11 on: `redacts` lives in content
    keep_join_rules_allow: bool = False  # v8 on
    keep_join_authorised: bool = False  # v9 on: member.join_authorised_via_users_server
    updated_redaction: bool = False  # v11 on: create keeps all content; power_levels.invite; redaction.redacts; ...


V1 = RoomVersion("1")
V2 = replace(V1, identifier="2", resolution=Resolution.V2)
V3 = replace(V2, identifier="3", event_ids=EventIdFormat.HASH, reference_pairs=False, redaction_rule=False)
V4 = replace(V3, identifier="4", event_ids=EventIdFormat.URL_SAFE_HASH)
V5 = replace(V4, identifier="5", enforce_key_validity=True)
V6 = replace(V5, identifier="6", strict_canonical_json=True, aliases_rule=False, check_notifications_levels=True)
V7 = replace(V6, identifier="7", knock=True)
V8 = replace(V7, identifier="8", restricted=True, keep_join_rules_allow=True)
V9 = replace(V8, identifier="9", keep_join_authorised=True)
V10 = replace(V9, identifier="10", knock_restricted=True, integer_power_levels=True)
V11 = replace(V10, identifier="11", creator_is_sender=True, redacts_in_content=True, updated_redaction=True)
V12 = replace(V11, identifier="12", resolution=Resolution.V2_1, room_id_is_create_hash=True, privileged_creators=True)

ROOM_VERSIONS: dict[str, RoomVersion] = {
    version.identifier: version for version in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)
}
DEFAULT_ROOM_VERSION = V12


def room_version(identifier: object) -> RoomVersion:
    """The version named `identifier`; raises BadRequest (M_UNSUPPORTED_ROOM_VERSION) if we know none of that name."""
    if isinstance(identifier, str) and identifier in ROOM_VERSIONS:
        return ROOM_VERSIONS[identifier]
    raise BadRequest(f"Room version {identifier!r} is not supported here", "M_UNSUPPORTED_ROOM_VERSION")
