"""Which state an event must cite as its `auth_events`. It says which keys, not which events stand there.
https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
"""

from collections.abc import Callable, Mapping
from typing import Any

from homeserver.domain.event import Event, StateKey
from homeserver.domain.versions import RoomVersion

# Answers which event stands at a key of some state of the room. It must be cheap: the rules ask it several times.
StateLookup = Callable[[StateKey], Event | None]

CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")


def auth_state_keys(
    version: RoomVersion, event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> list[StateKey]:
    """The keys of the state that an event with these fields must cite, each once; those with no event are left out
    by the caller."""
    if event_type == "m.room.create":
        return []
    keys: list[StateKey] = [POWER_LEVELS, ("m.room.member", sender)]
    if not version.privileged_creators:
        # Where the room id is the create event's hash, it implies the create event, which must not be cited.
        keys.insert(0, CREATE)
    if event_type == "m.room.member" and state_key is not None:
        _add_for_membership(version, sender, state_key, content, keys)
    return keys


def _add_for_membership(
    version: RoomVersion, sender: str, target: str, content: Mapping[str, Any], keys: list[StateKey]
) -> None:
    membership = content.get("membership")
    if target != sender:
        keys.append(("m.room.member", target))
    if membership in ("join", "invite", "knock"):
        keys.append(JOIN_RULES)
    if membership == "invite":
        token = third_party_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    if membership == "join" and version.restricted:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str) and ("m.room.member", authoriser) not in keys:
            keys.append(("m.room.member", authoriser))


def third_party_token(content: Mapping[str, Any]) -> str | None:
    """The token of the third-party invite that a membership's content redeems, if it does."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    token = signed.get("token") if isinstance(signed, Mapping) else None
    return token if isinstance(token, str) else None
