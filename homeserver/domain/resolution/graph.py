"""The graph of `auth_events`: which events two states disagree about, and in which order to judge them.

Nothing here fetches: what is needed and not at hand comes back as `Missing`. All walks are loops, so a long chain
needs no deep stack, and they keep sets of what they saw, so that a cycle (events of versions 1 and 2 choose their
ids, and can cite each other) ends.

Walking all that an agreed state of 50,000 members rests on, only to learn that it does not lead to one old event,
would be most of the work. An `Order` spares it: a number for an event such that whatever it cites has a smaller
one (row ids do, if auth events are always stored before what cites them). Depth would not do, because other servers
choose it. Without an order everything is walked that must be, and the result is the same.
https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from homeserver.domain.event import Event

# A number that grows along the graph, or None if none is known for this event.
Order = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Missing:
    """These events are needed first; best loaded with their auth chains, or the next answer is the next generation."""

    ids: frozenset[str]


def full_conflicted_set(
    disputed: Sequence[Collection[str]],
    agreed: Collection[str],
    events: Mapping[str, Event],
    order: Order | None = None,
) -> set[str] | Missing:
    """The conflicted events and the auth difference.

    `disputed` are, for each state, the events that it has and not all others have; `agreed` those that all have.
    The auth difference is what some state rests on, but not all do, where a state rests on its own events too: an
    agreed event and all below it is in every auth chain, so never in the difference.
    """
    # Every event reached gets a colour: a bit for each state that rests on it.
    everywhere = (1 << len(disputed)) - 1
    colours: dict[str, int] = {}
    for number, ids in enumerate(disputed):
        for event_id in ids:
            colours[event_id] = colours.get(event_id, 0) | 1 << number
    conflicted = set(colours)
    settled = frozenset(agreed)
    missing: set[str] = set()
    pending = list(colours)
    while pending:
        event_id = pending.pop()
        colour = colours[event_id]
        if event_id not in events:
            missing.add(event_id)
            continue
        if colour == everywhere:
            continue  # what lies below is looked at only if it can matter
        for cited in events[event_id].auth_events:
            known = colours.get(cited, 0)
            if cited not in settled and known | colour != known:
                colours[cited] = known | colour
                pending.append(cited)
    if missing:
        return Missing(frozenset(missing))
    difference = {event_id for event_id, colour in colours.items() if colour != everywhere} - conflicted
    if difference:
        shared = [event_id for event_id, colour in colours.items() if colour == everywhere]
        missing = _take_away_chains(difference, [*agreed, *shared], events, order)
        if difference and missing:
            return Missing(frozenset(missing))
    return conflicted | difference


def _take_away_chains(
    difference: set[str], shared: Iterable[str], events: Mapping[str, Event], order: Order | None
) -> set[str]:
    """Take out of `difference` all that `shared` events rest on; give back the ids that could not be followed.

    The youngest is followed first, and none that is older than the oldest left in the difference.
    """
    number = _numbers(order)
    oldest_last = sorted(difference, key=lambda event_id: number(event_id, -inf), reverse=True)
    seen = set(shared)
    youngest_first = [(-number(event_id, inf), event_id) for event_id in seen]
    heapq.heapify(youngest_first)
    missing: set[str] = set()
    while youngest_first:
        while oldest_last and oldest_last[-1] not in difference:
            oldest_last.pop()
        if not oldest_last:
            break
        negated, event_id = heapq.heappop(youngest_first)
        if -negated <= number(oldest_last[-1], -inf):
            break
        if event_id not in events:
            missing.add(event_id)
            continue
        for cited in events[event_id].auth_events:
            if cited not in seen:
                seen.add(cited)
                difference.discard(cited)
                heapq.heappush(youngest_first, (-number(cited, inf), cited))
    return missing


def conflicted_subgraph(
    conflicted: Collection[str], events: Mapping[str, Event], order: Order | None = None
) -> set[str] | Missing:
    """All events on paths of `auth_events` from one conflicted event to another, the ends included."""
    number = _numbers(order)
    floor = min((number(event_id, -inf) for event_id in conflicted), default=-inf)
    citing: dict[str, list[str]] = {}
    seen = set(conflicted)
    pending = list(seen)
    missing: set[str] = set()
    while pending:
        event_id = pending.pop()
        if event_id not in events:
            missing.add(event_id)
            continue
        for cited in events[event_id].auth_events:
            if number(cited, inf) < floor:
                continue
            citing.setdefault(cited, []).append(event_id)
            if cited not in seen:
                seen.add(cited)
                pending.append(cited)
    if missing:
        return Missing(frozenset(missing))
    # All that was seen is below a conflicted event; keep what is above one too.
    subgraph = set(conflicted)
    pending = list(subgraph)
    while pending:
        for event_id in citing.get(pending.pop(), ()):
            if event_id not in subgraph:
                subgraph.add(event_id)
                pending.append(event_id)
    return subgraph


def _numbers(order: Order | None) -> Callable[[str, float], float]:
    """The numbers of an order, with a given one for events that have none."""

    def number(event_id: str, unknown: float) -> float:
        known = order(event_id) if order is not None else None
        return unknown if known is None else known

    return number


def reachable_within(starts: Iterable[str], within: Collection[str], events: Mapping[str, Event]) -> set[str]:
    """The `starts`, and what they cite, and so on, as long as it stays `within`."""
    reached = set(starts)
    pending = list(reached)
    while pending:
        for cited in events[pending.pop()].auth_events:
            if cited in within and cited not in reached:
                reached.add(cited)
                pending.append(cited)
    return reached


def topological_order(
    ids: Collection[str], events: Mapping[str, Event], rank: Callable[[Event], tuple[float, int, str]]
) -> list[str]:
    """These events, each after those that it cites; of several that may come next, the one of the smallest rank.

    (Kahn's algorithm.) Events that cite each other in a circle never may come next, and are left out.
    """
    waiting_for: dict[str, int] = {}
    citing: dict[str, list[str]] = {}
    for event_id in ids:
        cited = {other for other in events[event_id].auth_events if other in ids}
        waiting_for[event_id] = len(cited)
        for other in cited:
            citing.setdefault(other, []).append(event_id)
    ready = [(rank(events[event_id]), event_id) for event_id, count in waiting_for.items() if count == 0]
    heapq.heapify(ready)
    ordered: list[str] = []
    while ready:
        _, event_id = heapq.heappop(ready)
        ordered.append(event_id)
        for other in citing.get(event_id, ()):
            waiting_for[other] -= 1
            if waiting_for[other] == 0:
                heapq.heappush(ready, (rank(events[other]), other))
    return ordered


class Mainline:
    """The power levels event of a state, the one that it cites, the one that this cites, and so on to the first.

    It is followed only as far as somebody asks. `missing` collects what could not be followed: if it is not empty,
    the positions are worthless.
    """

    def __init__(self, power_levels: str | None, events: Mapping[str, Event]) -> None:
        self._events = events
        # Positions on the mainline, and of power levels off it those that their chains lead to.
        self._positions: dict[str, float] = {}
        self._length = 0
        self._next = power_levels
        self.missing: set[str] = set()

    def position(self, event: Event) -> float:
        """Where the event's chain of power levels meets the mainline, 0 being its head; infinite if nowhere."""
        passed: list[str] = []
        current = self._cited_by(event)
        while current is not None and current not in self._positions and not self._extend_to(current):
            self._positions[current] = inf  # until it is known, so that a circle ends
            passed.append(current)
            current = self._cited_by(self._events[current])
        found = inf if current is None else self._positions[current]
        for event_id in passed:
            self._positions[event_id] = found
        return found

    def _extend_to(self, wanted: str) -> bool:
        """Follow the mainline until the wanted event is on it; False if it has ended without."""
        while self._next is not None and self._next not in self._positions:
            event_id = self._next
            self._positions[event_id] = self._length
            self._length += 1
            event = self._events.get(event_id)
            if event is None:
                self.missing.add(event_id)
                self._next = None
            else:
                self._next = self._cited_by(event)
            if event_id == wanted:
                return True
        return False

    def _cited_by(self, event: Event) -> str | None:
        for event_id in event.auth_events:
            cited = self._events.get(event_id)
            if cited is None:
                self.missing.add(event_id)
            elif cited.type == "m.room.power_levels" and cited.state_key == "":
                return event_id
        return None
