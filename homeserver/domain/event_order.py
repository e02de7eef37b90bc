"""The order in which events of a room's graph can be let in: each after those that it follows."""

from collections.abc import Mapping

from homeserver.domain.event import Event


def oldest_first(events: Mapping[str, Event]) -> list[Event]:
    """Events by id, each after those among them that it follows; what is part of a circle is left out.

    Where the graph does not decide, what says to be older comes first.
    """
    missing = {event_id: len(set(event.prev_events) & events.keys()) for event_id, event in events.items()}
    followers: dict[str, list[str]] = {}
    for event in events.values():
        for one in set(event.prev_events) & events.keys():
            followers.setdefault(one, []).append(event.event_id)
    age = sorted(events.values(), key=lambda event: (event.depth, event.origin_server_ts, event.event_id))
    ready = [event.event_id for event in age if missing[event.event_id] == 0]
    for event_id in ready:
        for follower in followers.get(event_id, ()):
            missing[follower] -= 1
            if missing[follower] == 0:
                ready.append(follower)
    return [events[event_id] for event_id in ready]
