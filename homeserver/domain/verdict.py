"""The verdict on an event that enters a room: accepted, soft-failed, rejected, or not yet to be told.

These are checks 4, 5 and 6 of the seven on receipt; format, signatures and hashes come before (1 to 3), the policy
server after (7). A local event takes the same way. Nothing here loads anything: what is needed and not in the
`Context` comes back as `Missing`.
https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeserver.domain.authorization.create import create_event_id
from homeserver.domain.authorization.restricted import check_authorising_signature
from homeserver.domain.authorization.rules import authorize, check_auth_events
from homeserver.domain.authorization.selection import CREATE, StateLookup, auth_state_keys
from homeserver.domain.event import Event, StateKey
from homeserver.domain.resolution.graph import Missing

# `Missing` is part of the verdict, and lives with the resolution, which says it too.
__all__ = ["Accepted", "Context", "Missing", "Rejected", "SoftFailed", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event stands."""


@dataclass(frozen=True, slots=True)
class SoftFailed:
    """The event is valid where it was sent, but not now: it is stored, and neither shown nor built upon."""

    why: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event was never allowed: it is neither relayed nor built upon, and does not change the state."""

    why: str


Verdict = Accepted | SoftFailed | Rejected | Missing

_ACCEPTED = Accepted()


@dataclass(frozen=True, slots=True)
class Context:
    """What an event is judged by.

    `auth_events` are the events that it cites, by id, and `rejected` the ids among them (or of the create event)
    that were rejected. `state_before` answers for the state before the event, `current_state` for that of the room
    now; either is None if it is not known or does not matter (outliers, history), and its check is left out. Pass
    the same object for both if the states are the same. `create` is the create event of the room: needed only where
    events do not cite it. `state_complete` is False while members are missing from the states of a room that was
    joined with `omit_members`.
    """

    auth_events: Mapping[str, Event]
    rejected: Collection[str] = ()
    state_before: StateLookup | None = None
    current_state: StateLookup | None = None
    create: Event | None = None
    state_complete: bool = True


def judge(event: Event, context: Context) -> Verdict:
    """The verdict on an event whose format, signatures and hash were checked."""
    missing = _missing(event, context)
    if missing is not None:
        return missing
    # Check 4: "passes authorisation rules based on the event's auth events, otherwise it is rejected".
    why = check_auth_events(event, context.auth_events, context.rejected) or check_authorising_signature(event)
    if why is not None:
        return Rejected(why)
    cited: dict[StateKey, Event] = {}
    for event_id in event.auth_events:
        other = context.auth_events[event_id]
        if other.is_state:
            cited[other.key] = other
    if event.version.room_id_is_create_hash and context.create is not None:
        if context.create.event_id in context.rejected:
            return Rejected("The create event of the room was rejected.")
        cited[CREATE] = context.create
    why = authorize(event, cited.get)
    if why is not None:
        return Rejected(why)
    # Check 5: "... based on the state before the event, otherwise it is rejected".
    before, current = context.state_before, context.current_state
    if before is not None:
        why = _authorize_again(event, before, cited, context)
        if why is not None:
            return Rejected(why)
    # Check 6: "... based on the current state of the room, otherwise it is soft failed".
    if current is not None and current is not before:
        why = _authorize_again(event, current, cited, context)
        if why is not None:
            return SoftFailed(why)
    return _ACCEPTED


def _missing(event: Event, context: Context) -> Missing | None:
    absent = [event_id for event_id in event.auth_events if event_id not in context.auth_events]
    if event.version.room_id_is_create_hash and context.create is None and event.type != "m.room.create":
        absent.append(create_event_id(event.room_id))
    return Missing(frozenset(absent)) if absent else None


def _authorize_again(event: Event, state: StateLookup, cited: Mapping[StateKey, Event], context: Context) -> str | None:
    """`authorize` in this state, after the event was found allowed by what it cites."""
    keys = auth_state_keys(event.version, event.type, event.sender, event.state_key, event.content)
    if event.version.privileged_creators:
        keys.append(CREATE)
    standing: dict[StateKey, Event] = {}
    differs = False
    for key in keys:
        by_state, by_event = state(key), cited.get(key)
        if by_state is None and not context.state_complete and key[0] == "m.room.member":
            # NOTSPEC: a member that we have not been told of yet is taken from what the event cites.
            by_state = by_event
        if by_state is not None:
            standing[key] = by_state
        if by_state is not by_event and (
            by_state is None or by_event is None or by_state.event_id != by_event.event_id
        ):
            differs = True
    # Mostly an event cites just what stands, so the answer is known.
    return authorize(event, standing.get) if differs else None
