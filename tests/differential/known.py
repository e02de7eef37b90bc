"""Which disagreements with Synapse are explained: the judgements of `disputes.py`, and those listed here.

A disagreement that fits none of these is a defect of ours, or of this list.
"""

from collections.abc import Callable
from dataclasses import dataclass

from homeserver.domain.hashing import content_hash
from tests.differential.compare import Difference
from tests.differential.disputes import dispute_about, is_malformed_member


@dataclass(frozen=True, slots=True)
class Known:
    """One kind of disagreement: how it is recognised, and why we stay with ours."""

    name: str
    why: str
    applies: Callable[[Difference], bool]


def _hashes_local_keys(difference: Difference) -> bool:
    if difference.kind != "content_hash" or difference.event is None:
        return False
    pdu = {key: value for key, value in difference.event.pdu.items() if key not in _LOCAL_KEYS}
    return bool(content_hash(pdu) == difference.theirs)


def _falls_over_malformed_member(difference: Difference) -> bool:
    event = difference.event
    asked = difference.kind in ("selection", "auth_events")
    return asked and difference.crashed and event is not None and is_malformed_member(event)


def _is_of_another_room(difference: Difference) -> bool:
    event = difference.event
    return (
        (difference.kind == "judgement" or (difference.kind == "auth_events" and difference.crashed))
        and event is not None
        and event.version.room_id_is_create_hash
        and event.room_id != difference.room.room_id
    )


def _rests_on_rejected(difference: Difference) -> bool:
    """Whether a rejected event is in the auth chains of a resolution."""
    room = difference.room
    waiting = [event_id for fork in difference.forks for event_id in fork.values()]
    seen: set[str] = set()
    while waiting:
        event_id = waiting.pop()
        if event_id not in seen:
            seen.add(event_id)
            waiting.extend(room.events[event_id].auth_events)
    return difference.kind == "resolution" and not room.rejected.isdisjoint(seen)


_LOCAL_KEYS = ("age_ts", "outlier", "destinations")

KNOWN = (
    Known(
        "keys left out of the content hash",
        "Synapse leaves age_ts, outlier and destinations out of the hashed event, besides unsigned, signatures and "
        "hashes. The spec: 'the unsigned, signature, and hashes objects are removed', and nothing else.",
        _hashes_local_keys,
    ),
    Known(
        "auth events of a malformed member event",
        "Synapse falls over a membership, a state key, a token or a vouching user that is missing or no text. The spec "
        "selects '... if any': what cannot exist is not selected, and the event is left to the rules.",
        _falls_over_malformed_member,
    ),
    Known(
        "an event of another room, since version 12",
        "'If the event's room_id is not an event ID for an accepted (not rejected) m.room.create event, with the sigil "
        "! instead of $, reject.' We ask this with the state; Synapse when it loads the auth events, to which it adds "
        "the create event that the room id names (and falls over one that it does not know).",
        _is_of_another_room,
    ),
    Known(
        "a resolution that meets a rejected event, since version 2",
        "Synapse never lets a rejected event into the state (its source says that this is not what the spec asks). The "
        "spec: 'Events that have been rejected due to failing auth based on the state at the event (rather than based "
        "on their auth chain) are handled as usual by the algorithm, unless otherwise specified.'",
        _rests_on_rejected,
    ),
)


def explanation(difference: Difference) -> str | None:
    """The name of the entry that explains a difference, if there is one."""
    known = next((known.name for known in KNOWN if known.applies(difference)), None)
    if known is not None or difference.kind != "judgement" or difference.event is None:
        return known
    dispute = dispute_about(difference.event, difference.room.events[difference.room.create])
    return dispute.name if dispute is not None and difference.theirs.startswith(dispute.theirs) else None
