"""State resolution of version 1 rooms: by depth, and with known faults that later versions mend.
https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha1

from homeserver.domain.authorization.rules import authorize
from homeserver.domain.authorization.selection import CREATE, JOIN_RULES, POWER_LEVELS, auth_state_keys
from homeserver.domain.event import Event, StateKey, StateMap
from homeserver.domain.resolution.graph import Missing


def resolve_v1(forks: Sequence[StateMap], events: Mapping[str, Event]) -> dict[StateKey, str] | Missing:
    """The resolution of these states. `events` must hold the conflicting events and, of the others, those that the
    rules ask about them."""
    resolved, conflicts = _separate(forks)
    missing = _needed(resolved, conflicts, events) - events.keys()
    if missing:
        return Missing(frozenset(missing))
    passes: tuple[Callable[[StateKey], bool], ...] = (
        lambda key: key == POWER_LEVELS,
        lambda key: key[0] == JOIN_RULES[0],
        lambda key: key[0] == "m.room.member",
    )
    for belongs in passes:
        # The keys of one pass do not see each other's results, so that their order does not matter.
        keys = [key for key in conflicts if belongs(key)]
        resolved.update([(key, _last_in_succession(conflicts.pop(key), resolved, events)) for key in keys])
    rest = [(key, _highest_allowed(ids, resolved, events)) for key, ids in conflicts.items()]
    resolved.update(rest)
    return resolved


def _separate(forks: Sequence[StateMap]) -> tuple[dict[StateKey, str], dict[StateKey, set[str]]]:
    """The union of the states without conflicts, and the conflicts: keys with different events. A key that some
    states have and others have not is no conflict in this version."""
    candidates: dict[StateKey, set[str]] = {}
    for fork in forks:
        for key, event_id in fork.items():
            candidates.setdefault(key, set()).add(event_id)
    agreed = {key: next(iter(ids)) for key, ids in candidates.items() if len(ids) == 1}
    return agreed, {key: ids for key, ids in candidates.items() if len(ids) > 1}


def _needed(
    resolved: Mapping[StateKey, str], conflicts: Mapping[StateKey, set[str]], events: Mapping[str, Event]
) -> set[str]:
    needed = set().union(*conflicts.values())
    for event_id in tuple(needed):
        event = events.get(event_id)
        if event is not None:
            keys = auth_state_keys(event.version, event.type, event.sender, event.state_key, event.content)
            needed.update(resolved[key] for key in (CREATE, *keys) if key in resolved)
    return needed


def _by_depth(ids: Iterable[str], events: Mapping[str, Event]) -> list[str]:
    """By ascending depth, then descending SHA-1 of the id."""
    by_digest = sorted(ids, key=lambda event_id: sha1(event_id.encode("utf-8", "surrogatepass")).digest(), reverse=True)
    return sorted(by_digest, key=lambda event_id: events[event_id].depth)


def _last_in_succession(ids: set[str], resolved: Mapping[StateKey, str], events: Mapping[str, Event]) -> str:
    """Take the lowest, then each next one as long as it is allowed after the one before."""
    first, *others = _by_depth(ids, events)
    last = first
    for event_id in others:
        if not _is_allowed(
            events[event_id], {**_auth_part(event_id, resolved, events), events[last].key: last}, events
        ):
            break
        last = event_id
    return last


def _highest_allowed(ids: set[str], resolved: Mapping[StateKey, str], events: Mapping[str, Event]) -> str:
    """The highest that is allowed. COMPAT: the spec does not say what follows if none is; others take the lowest."""
    ordered = _by_depth(ids, events)
    for event_id in reversed(ordered):
        if _is_allowed(events[event_id], _auth_part(event_id, resolved, events), events):
            return event_id
    return ordered[0]


def _auth_part(event_id: str, resolved: Mapping[StateKey, str], events: Mapping[str, Event]) -> dict[StateKey, str]:
    event = events[event_id]
    keys = auth_state_keys(event.version, event.type, event.sender, event.state_key, event.content)
    return {key: resolved[key] for key in (CREATE, *keys) if key in resolved}


def _is_allowed(event: Event, state: Mapping[StateKey, str], events: Mapping[str, Event]) -> bool:
    return authorize(event, lambda key: events[state[key]] if key in state else None) is None
