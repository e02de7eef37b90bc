"""The authorization rules: may this event stand in a room with this state?

`authorize` asks what depends on state, in the order of the spec; `check_auth_events` asks whether the event cites
what it must. Rules for signatures are not here, since they need keys. Rule numbers are those of version 12, where
the rules of other versions differ a flag of the version is asked. Everything answers None for "allowed" or else
the reason, a sentence.
https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
"""

from collections.abc import Collection, Mapping

from homeserver.domain.authorization.create import authorize_create, create_event_id, server_of
from homeserver.domain.authorization.membership import authorize_membership, membership_of
from homeserver.domain.authorization.power_levels import authorize_power_levels
from homeserver.domain.authorization.selection import CREATE, POWER_LEVELS, StateLookup, auth_state_keys
from homeserver.domain.event import Event, StateKey
from homeserver.domain.power import PowerLevels
from homeserver.domain.versions import RoomVersion


def authorize(event: Event, state: StateLookup, create: Event | None = None) -> str | None:
    """None if the event is allowed in this state, otherwise the reason why not.

    `state` is asked for nothing but the keys of `auth_state_keys` and the create event, which is not looked up
    there if given as `create`.
    """
    # 1
    if event.type == "m.room.create":
        return authorize_create(event)
    create = create or state(CREATE)
    if create is None:
        return "The room has no create event."
    # 2: the room id names the create event, where it is its hash.
    if event.version.room_id_is_create_hash and create.event_id != create_event_id(event.room_id):
        return "The room id does not name the room's create event."
    # 3 is `check_auth_events`.
    # 4: a room that does not federate takes events of one server only.
    if create.content.get("m.federate") is False and server_of(event.sender) != server_of(create.sender):
        return "The room does not federate, and the sender is of another server."
    # Until version 5: aliases are announced by their own server, whoever is joined.
    if event.type == "m.room.aliases" and event.version.aliases_rule:
        return _authorize_aliases(event)
    power = PowerLevels(event.version, create, state(POWER_LEVELS))
    # 5
    if event.type == "m.room.member":
        return authorize_membership(event, state, create, power)
    # 6
    if membership_of(state, event.sender) != "join":
        return "The sender is not joined."
    return _authorize_by_power(event, state, create, power)


def _authorize_aliases(event: Event) -> str | None:
    if event.state_key is None:
        return "An aliases event needs a state key."
    if server_of(event.sender) != event.state_key:
        return "The aliases of a server can only be set from there."
    return None


def _authorize_by_power(event: Event, state: StateLookup, create: Event, power: PowerLevels) -> str | None:
    level = power.of_user(event.sender)
    # 7
    if event.type == "m.room.third_party_invite":
        return None if level >= power.for_action("invite") else "The sender may not invite."
    # 8
    if power.for_event(event.type, event.is_state) > level:
        return f"The sender may not send {event.type}."
    # 9: a state key that is a user id belongs to that user.
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        return "The state key belongs to another user."
    # 10
    if event.type == "m.room.power_levels":
        return authorize_power_levels(event, state(POWER_LEVELS), create, power)
    # Versions 1 and 2: redactions are judged here; later they are judged when they are applied.
    if event.type == "m.room.redaction" and event.version.redaction_rule:
        server = server_of(event.event_id)
        same_server = server != "" and event.redacts is not None and server_of(event.redacts) == server
        if level < power.for_action("redact") and not same_server:
            return "The sender may not redact events of other servers."
    # 11
    return None


def check_auth_events(event: Event, auth_events: Mapping[str, Event], rejected: Collection[str]) -> str | None:
    """None if the event cites what it must (rule 3), otherwise the reason why not.

    `auth_events` holds all events that it cites, by id; `rejected` the ids of those among them that were rejected.
    """
    if event.type == "m.room.create":
        return None
    version = event.version
    allowed = auth_state_keys(version, event.type, event.sender, event.state_key, event.content)
    seen: set[StateKey] = set()
    for event_id in event.auth_events:
        cited = auth_events[event_id]
        key = (cited.type, cited.state_key) if cited.state_key is not None else None
        # 3.1, 3.2
        if key is None or key not in allowed:
            return f"The event cites {event_id}, a {cited.type} that does not authorise it."
        if key in seen:
            return f"The event cites two events of the same key, {cited.type}."
        seen.add(key)
        # 3.3
        if event_id in rejected:
            return f"The event cites {event_id}, which was rejected."
        # 3.5
        if cited.room_id != event.room_id:
            return f"The event cites {event_id}, which is of another room."
    # 3.4, where the create event is cited at all.
    if not version.privileged_creators and CREATE not in seen:
        return "The event does not cite the create event of the room."
    return None


def authorize_redaction_applies(version: RoomVersion, redaction: Event, redacted: Event, power: PowerLevels) -> bool:
    """Whether an accepted redaction takes effect on the event that it names.

    `power` are the levels of the state before the redaction. In versions 1 and 2 the rules above have decided that
    already; since then an accepted redaction may be without effect.
    https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
    """
    if redaction.redacts != redacted.event_id or redaction.room_id != redacted.room_id:
        return False
    if version.redaction_rule:
        return True
    if power.of_user(redaction.sender) >= power.for_action("redact"):
        return True
    return server_of(redaction.sender) == server_of(redacted.sender)
