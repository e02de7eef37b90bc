"""State resolution since version 2, and as changed in version 12 (there called 2.1).

What the states agree on stands. Of what they disagree about, with the auth events that not all of them rest on, the
power events (those that can take away somebody's power) are put in order and tried one by one; then the others,
those first whose power levels are the older. An event that is not allowed in what stands so far is passed over.

Version 2.1 starts from nothing instead of what is agreed, so that a disputed event is judged by its own auth events
and cannot lose by a state that it never knew, and tries all events between two disputed ones again.
https://spec.matrix.org/v1.19/rooms/v2/#state-resolution and https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from homeserver.domain.authorization.create import create_event_id
from homeserver.domain.authorization.rules import authorize
from homeserver.domain.authorization.selection import CREATE, JOIN_RULES, POWER_LEVELS, auth_state_keys
from homeserver.domain.event import Event, StateKey, StateMap
from homeserver.domain.power import PowerLevels
from homeserver.domain.resolution.graph import (
    Mainline,
    Missing,
    Order,
    conflicted_subgraph,
    full_conflicted_set,
    reachable_within,
    topological_order,
)
from homeserver.domain.versions import Resolution, RoomVersion


def resolve_v2(
    version: RoomVersion,
    forks: Sequence[StateMap],
    events: Mapping[str, Event],
    rejected: Collection[str],
    order: Order | None,
) -> dict[StateKey, str] | Missing:
    """The resolution of at least two different states."""
    agreed, disputed = _separate(forks)
    conflicted = full_conflicted_set(disputed, agreed.values(), events, order)
    if isinstance(conflicted, Missing):
        return conflicted
    from_nothing = version.resolution is Resolution.V2_1
    if from_nothing:
        subgraph = conflicted_subgraph(set().union(*disputed), events, order)
        if isinstance(subgraph, Missing):
            return subgraph
        conflicted |= subgraph
    # Only a message event cited by a malformed one could be no state event; it has no place in the result.
    conflicted = {event_id for event_id in conflicted if events[event_id].is_state}
    start: dict[StateKey, str] = {} if from_nothing else dict(agreed)
    missing = _needed(conflicted, start, events) - events.keys()
    if missing:
        return Missing(frozenset(missing))

    # 1: the power events with what they rest on, as far as it is disputed. COMPAT: "the auth chain" is followed
    # only inside the full conflicted set, as everybody does.
    power_events = (event_id for event_id in conflicted if is_power_event(events[event_id]))
    first = reachable_within(power_events, conflicted, events)
    # 2
    state = _apply(topological_order(first, events, lambda event: _rank(event, events)), start, events, rejected)
    # 3
    others = _by_mainline(conflicted - first, state.get(POWER_LEVELS), events)
    if isinstance(others, Missing):
        return others
    # 4 and 5
    return {**_apply(others, state, events, rejected), **agreed}


def is_power_event(event: Event) -> bool:
    """Whether the event might take away somebody's power to do something.

    COMPAT: only with an empty state key, and create events too: the spec names neither, others do both.
    """
    if event.type == "m.room.member":
        return event.content.get("membership") in ("leave", "ban") and event.sender != event.state_key
    return event.is_state and event.key in (POWER_LEVELS, JOIN_RULES, CREATE)


def _separate(forks: Sequence[StateMap]) -> tuple[dict[StateKey, str], list[set[str]]]:
    """What all states agree on, and for each state what it has beyond that."""
    agreed = set(forks[0].items())
    for fork in forks[1:]:
        agreed &= fork.items()
    return dict(agreed), [{event_id for _, event_id in fork.items() - agreed} for fork in forks]


def _create_of(event: Event, events: Mapping[str, Event]) -> Event | None:
    """The create event, which is in nobody's auth events where the room id names it."""
    return events.get(create_event_id(event.room_id)) if event.version.room_id_is_create_hash else None


def _needed(conflicted: Iterable[str], start: Mapping[StateKey, str], events: Mapping[str, Event]) -> set[str]:
    """The ids of all events that judging the conflicted ones can ask for."""
    needed: set[str] = set()
    for event_id in conflicted:
        event = events[event_id]
        needed.update(event.auth_events)
        if event.version.room_id_is_create_hash:
            needed.add(create_event_id(event.room_id))
        keys = auth_state_keys(event.version, event.type, event.sender, event.state_key, event.content)
        needed.update(start[key] for key in keys if key in start)
    return needed


def _rank(event: Event, events: Mapping[str, Event]) -> tuple[float, int, str]:
    """The more powerful sender comes first, by the event's own auth events; then the earlier; then the smaller id."""
    cited = {other.key: other for other in (events[event_id] for event_id in event.auth_events) if other.is_state}
    create = _create_of(event, events) or cited.get(CREATE)
    power = PowerLevels(event.version, create, cited.get(POWER_LEVELS))
    return -power.of_user(event.sender), event.origin_server_ts, event.event_id


def _by_mainline(ids: Collection[str], power_levels: str | None, events: Mapping[str, Event]) -> list[str] | Missing:
    """These events in the mainline ordering based on a power levels event."""
    if len(ids) < 2:
        return list(ids)
    mainline = Mainline(power_levels, events)
    ranks = {
        event_id: (-mainline.position(events[event_id]), events[event_id].origin_server_ts, event_id)
        for event_id in sorted(ids)
    }
    if mainline.missing:
        return Missing(frozenset(mainline.missing))
    return sorted(ids, key=ranks.__getitem__)


def _apply(
    ordered: Iterable[str], start: Mapping[StateKey, str], events: Mapping[str, Event], rejected: Collection[str]
) -> dict[StateKey, str]:
    """The iterative auth checks: put each event that is allowed into the state."""
    state = dict(start)
    for event_id in ordered:
        event = events[event_id]
        # "If a key that is required is not present in the state, then the appropriate state event from the event's
        # auth_events is used if the auth event is not rejected."
        cited = {
            other.key: other
            for other in (events[other_id] for other_id in event.auth_events if other_id not in rejected)
            if other.is_state
        }

        def standing(key: StateKey, cited: Mapping[StateKey, Event] = cited) -> Event | None:
            return events[state[key]] if key in state else cited.get(key)

        if authorize(event, standing, _create_of(event, events)) is None:
            state[event.key] = event_id
    return state
