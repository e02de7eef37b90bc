"""The state of a room where several states meet: after several previous events, or several ends of the graph.
https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from collections.abc import Collection, Mapping, Sequence

from homeserver.domain.event import Event, StateMap
from homeserver.domain.resolution.graph import Missing, Order
from homeserver.domain.resolution.v1 import resolve_v1
from homeserver.domain.resolution.v2 import resolve_v2
from homeserver.domain.versions import Resolution, RoomVersion


def resolve(
    version: RoomVersion,
    forks: Sequence[StateMap],
    events: Mapping[str, Event],
    rejected: Collection[str] = (),
    order: Order | None = None,
) -> StateMap | Missing:
    """The resolution of these states, or which events it needs first.

    `events` should hold the events that the states disagree about, their auth chains, and what the agreed state has
    at the keys that these rest on (create, power levels, join rules, members). If auth chains differ, the auth
    chains of the agreed events are needed too, unless an `order` shows them to be too old (see `graph`).
    `rejected` are the ids of those among them that were rejected. The order of forks does not matter.
    """
    distinct: list[StateMap] = []
    for fork in forks:
        if not any(fork is other or fork == other for other in distinct):
            distinct.append(fork)
    if not distinct:
        return {}
    if len(distinct) == 1:
        return distinct[0]
    if version.resolution is Resolution.V1:
        return resolve_v1(distinct, events)
    return resolve_v2(version, distinct, events, rejected, order)
