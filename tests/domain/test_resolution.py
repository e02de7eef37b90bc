"""State resolution against named cases: our own, and those shared beside the checkout if they are there.

A case of `cases.json` is either "batches" (files of PDUs; one by one, file by file and all at once must give the
same) or "forks" (state maps over a file of PDUs). `expected/` lists the events that must stand.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.authorization.rules import authorize
from homeserver.domain.event import Event, StateKey, StateMap
from homeserver.domain.power import PowerLevels
from homeserver.domain.resolution.graph import Missing, conflicted_subgraph, full_conflicted_set
from homeserver.domain.resolution.state import resolve
from homeserver.domain.versions import RoomVersion, room_version
from tests.domain.room_builder import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    Room,
    event_of,
    make_event,
    public_room,
    version_in,
)

OWN = Path(__file__).parent / "state_resolution_cases"
SHARED = Path(__file__).parents[3] / "shared" / "fixtures" / "state-resolution"


@dataclass(frozen=True)
class Case:
    """One case, read."""

    name: str
    version: RoomVersion
    batches: list[list[Event]]
    states: list[dict[StateKey, str]]
    expected: dict[StateKey, str]

    @property
    def events(self) -> dict[str, Event]:
        return {event.event_id: event for batch in self.batches for event in batch}


def read_cases(folder: Path) -> list[Case]:
    if not (folder / "cases.json").exists():
        return []
    listed = json.loads((folder / "cases.json").read_text())
    cases = [read_case(folder, name, files, []) for name, files in listed["batches"].items()]
    for name, fork in listed["forks"].items():
        cases.append(read_case(folder, name, [fork["pdus"]], fork["states"]))
    return cases


def read_case(folder: Path, name: str, files: list[str], states: list[str]) -> Case:
    pdus = [json.loads((folder / file).read_text()) for file in files]
    version = version_in(pdus[0])
    batches = [[event_of(pdu, version) for pdu in batch] for batch in pdus]
    events = {event.event_id: event for batch in batches for event in batch}
    expected = json.loads((folder / "expected" / f"{name}.json").read_text())
    return Case(
        name,
        version,
        batches,
        [{events[one].key: one for one in json.loads((folder / state).read_text())} for state in states],
        {(one["type"], one["state_key"]): one["event_id"] for one in expected},
    )


CASES = [*read_cases(OWN), *read_cases(SHARED)]
BATCHES = [pytest.param(case, id=case.name) for case in CASES if not case.states]
FORKS = [pytest.param(case, id=case.name) for case in CASES if case.states]


def resolved(case: Case, forks: Iterable[StateMap]) -> StateMap:
    state = resolve(case.version, list(forks), case.events)
    assert not isinstance(state, Missing)
    return state


@pytest.mark.parametrize("case", BATCHES)
def test_events_one_by_one(case: Case) -> None:
    """Following the graph event by event ends in the expected state."""
    after: dict[str, StateMap] = {}
    ends: set[str] = set()
    for event in (event for batch in case.batches for event in batch):
        before = resolved(case, [after[one] for one in event.prev_events])
        assert event.is_state
        after[event.event_id] = {**before, event.key: event.event_id} if allowed(event, before, case.events) else before
        ends = (ends - set(event.prev_events)) | {event.event_id}
    assert resolved(case, [after[one] for one in sorted(ends)]) == case.expected


def allowed(event: Event, state: StateMap, events: Mapping[str, Event]) -> bool:
    return authorize(event, lambda key: events[state[key]] if key in state else None) is None


@pytest.mark.parametrize("case", BATCHES)
def test_events_file_by_file(case: Case) -> None:
    """Each event of a file as a state of its own, beside the state so far, ends in the expected state."""
    state: StateMap = {}
    for batch in case.batches:
        state = resolved(case, [*([state] if state else []), *({event.key: event.event_id} for event in batch)])
    assert state == case.expected


@pytest.mark.parametrize("case", BATCHES)
def test_events_all_at_once(case: Case) -> None:
    """All events as states of their own end in the expected state."""
    assert resolved(case, [{event.key: one} for one, event in case.events.items()]) == case.expected


@pytest.mark.parametrize("case", FORKS)
def test_forks_in_every_order(case: Case) -> None:
    """States meet in the expected one, however they are listed."""
    for forks in permutations(case.states):
        assert resolved(case, forks) == case.expected


def test_our_own_cases_are_there() -> None:
    """The cases are committed with the tests, and each expected file belongs to one."""
    named = {case.name for case in read_cases(OWN)}
    assert len(named) >= 8
    assert {path.stem for path in (OWN / "expected").iterdir()} == named


def test_nothing_and_the_same() -> None:
    """No state is the empty state, and equal states need no event at all."""
    version = room_version("11")
    state = {("m.room.create", ""): "$create"}
    assert resolve(version, [], {}) == {}
    assert resolve(version, [state, dict(state), state], {}) is state


# --- generated rooms ---------------------------------------------------------------------------------------------

PEOPLE = (ALICE, BOB, CAROL, DAVE)
VERSIONS = ("1", "2", "6", "7", "11", "12")


def play(room: Room, data: st.DataObject) -> None:
    """Somebody does something, allowed or not, after one or two events of the past, perhaps with a false clock."""
    accepted = sorted(room.state_after.keys() - room.rejected)[3:]
    prev = data.draw(st.lists(st.sampled_from(accepted[-6:]), min_size=1, max_size=2, unique=True))
    options: dict[str, Any] = {"prev": prev, "ts": data.draw(st.integers(0, 20))}
    sender, target = data.draw(st.sampled_from(PEOPLE)), data.draw(st.sampled_from(PEOPLE))
    match data.draw(st.sampled_from(["member", "member", "own", "power", "rule", "topic", "topic"])):
        case "member":
            room.member(sender, target, data.draw(st.sampled_from(["ban", "leave", "invite"])), **options)
        case "own":
            room.member(sender, sender, data.draw(st.sampled_from(["join", "leave", "knock"])), **options)
        case "power":
            users = {ALICE: 100, BOB: 50, target: data.draw(st.sampled_from([0, 40, 50, 100]))}
            if room.version.privileged_creators:
                del users[ALICE]
            room.power(
                sender, {"users": users, "events": {"m.room.topic": data.draw(st.sampled_from([0, 50]))}}, **options
            )
        case "rule":
            room.join_rule(sender, data.draw(st.sampled_from(["public", "invite", "knock"])), **options)
        case _:
            room.send(sender, "m.room.topic", {}, "", **options)


@st.composite
def forked_rooms(draw: st.DrawFn, versions: Sequence[str] = VERSIONS) -> tuple[Room, list[StateMap]]:
    """A room with some history, and the states after up to four of its events."""
    room = public_room(draw(st.sampled_from(versions)))
    data = draw(st.data())
    for _ in range(draw(st.integers(2, 14))):
        play(room, data)
    latest = sorted(room.state_after.keys())[2:][-8:]
    ends = draw(st.lists(st.sampled_from(latest), min_size=2, max_size=4, unique=True))
    return room, [room.state_after[one] for one in ends]


def merge(room: Room, forks: Sequence[StateMap], events: Mapping[str, Event] | None = None, **options: Any) -> StateMap:
    state = resolve(room.version, forks, room.events if events is None else events, room.rejected, **options)
    assert not isinstance(state, Missing)
    return state


@settings(max_examples=80, deadline=None)
@given(forked_rooms(), st.randoms(use_true_random=False))
def test_order_does_not_matter(forked: tuple[Room, list[StateMap]], random: Random) -> None:
    """Neither the order of states, nor of the mapping of events, nor unrelated events change the result."""
    room, forks = forked
    expected = merge(room, forks)
    shuffled = list(room.events.items())
    random.shuffle(shuffled)
    stranger = public_room(room.version.identifier).send(CAROL, "m.room.topic", {}, "")
    events = {**dict(shuffled), "$stranger": replace(stranger, event_id="$stranger")}
    for one in islice(permutations(forks), 6):
        assert merge(room, one, events) == expected
        assert merge(room, [*one, forks[0]], events) == expected


@settings(max_examples=80, deadline=None)
@given(forked_rooms())
def test_what_is_agreed_stands(forked: tuple[Room, list[StateMap]]) -> None:
    """Each pair that all states have is in the result, and nothing is there that no event ever put there."""
    room, forks = forked
    state = merge(room, forks)
    agreed = set(forks[0].items()).intersection(*(fork.items() for fork in forks))
    assert agreed <= set(state.items())
    assert all(room.events[one].key == key for key, one in state.items())
    assert merge(room, [state, state]) == state


@settings(max_examples=120, deadline=None)
@given(forked_rooms(["2", "6", "11"]))
def test_disputed_events_obey_the_resolved_power(forked: tuple[Room, list[StateMap]]) -> None:
    """What won a dispute was sent by somebody who has the level for it and is not banned, by the resolved state."""
    room, forks = forked
    state = merge(room, forks)
    agreed = set(forks[0].items()).intersection(*(fork.items() for fork in forks))
    levels = room.events[state[("m.room.power_levels", "")]]
    power = PowerLevels(room.version, room.create, levels)
    topic = ("m.room.topic", "")
    if topic in state and (topic, state[topic]) not in agreed:
        sender = room.events[state[topic]].sender
        assert power.of_user(sender) >= power.for_event("m.room.topic", True)
        member = state.get(("m.room.member", sender))
        assert member is None or room.events[member].content["membership"] != "ban"


@settings(max_examples=80, deadline=None)
@given(forked_rooms(), st.booleans())
def test_asking_for_what_is_missing(forked: tuple[Room, list[StateMap]], ordered: bool) -> None:
    """Starting with no event and adding what is named each time ends, with the result of having all."""
    room, forks = forked
    order = {one: number for number, one in enumerate(room.events)}.get if ordered else None
    known: dict[str, Event] = {}
    for _ in range(len(room.events) + 1):
        state = resolve(room.version, forks, known, room.rejected, order)
        if not isinstance(state, Missing):
            assert state == merge(room, forks)
            return
        assert state.ids and state.ids.isdisjoint(known)
        known.update({one: room.events[one] for one in state.ids})
    raise AssertionError("it kept asking")


# --- the graph ---------------------------------------------------------------------------------------------------


def node(event_id: str, cites: Iterable[str], kind: str = "m.room.topic") -> Event:
    return make_event(room_version("11"), event_id, ALICE, kind, {}, "", auth_events=list(cites))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Event], list[set[str]], set[str]]:
    """A random graph, for each of some states the events that it alone or with some others has, and the agreed."""
    size = draw(st.integers(3, 14))
    names = [f"${number:02}" for number in range(size)]
    events = {}
    for number, name in enumerate(names):
        cites = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        events[name] = node(name, [names[one] for one in sorted(cites)])
    some = st.sets(st.sampled_from(names), max_size=4)
    agreed = draw(some)
    disputed = [draw(some) - agreed for _ in range(draw(st.integers(2, 3)))]
    everybody = set.intersection(*disputed)
    return events, [one - everybody for one in disputed], agreed


def chain(starts: Iterable[str], events: Mapping[str, Event]) -> set[str]:
    """The auth chains of these events, themselves included, the slow way."""
    found = set(starts)
    while True:
        more = {cited for one in found for cited in events[one].auth_events} - found
        if not more:
            return found
        found |= more


@settings(max_examples=200, deadline=None)
@given(graphs(), st.sampled_from(["no order", "order", "half an order"]))
def test_conflicted_sets_by_definition(graph: tuple[dict[str, Event], list[set[str]], set[str]], kind: str) -> None:
    """The walks with their short cuts give what the definitions say."""
    events, disputed, agreed = graph
    numbers = {one: number for number, one in enumerate(events) if kind == "order" or number % 2}
    order = None if kind == "no order" else numbers.get
    chains = [chain(own | agreed, events) for own in disputed]
    conflicted = set().union(*disputed)
    difference = chains[0].union(*chains) - chains[0].intersection(*chains)
    assert full_conflicted_set(disputed, agreed, events, order) == conflicted | difference
    below = chain(conflicted, events)
    between = {one for one in below if chain([one], events) & conflicted}
    assert conflicted_subgraph(conflicted, events, order) == between


class Counting(dict[str, Event]):
    """Events that remember which of them were looked at."""

    def __init__(self, events: Mapping[str, Event]) -> None:
        super().__init__(events)
        self.seen: set[str] = set()

    def __getitem__(self, key: str) -> Event:
        self.seen.add(key)
        return super().__getitem__(key)


def test_an_order_spares_the_old_members() -> None:
    """A fork of yesterday is resolved without reading a thousand members of last year."""
    room = public_room()
    for number in range(300):
        room.join(f"@member{number}:m.example")
    members = {one for one in room.events if room.events[one].sender.startswith("@member")}
    base = tuple(room.tips)
    levels = {"users": {ALICE: 100, BOB: 50}}
    first = room.power(ALICE, {**levels, "ban": 51}, prev=base)
    second = room.power(ALICE, {**levels, "ban": 52}, prev=[first.event_id])
    other = room.send(BOB, "m.room.topic", {}, "", prev=base)
    forks = [room.state_after[second.event_id], room.state_after[other.event_id]]
    events = Counting(room.events)
    order = {one: number for number, one in enumerate(room.events)}.get
    assert merge(room, forks, events, order=order) == merge(room, forks)
    assert not events.seen & members


def test_attack_17_a_chain_of_100_000_links() -> None:
    """A chain that long is walked, sorted and applied without recursion."""
    room = public_room("12")
    before = room.now()
    key = ("m.room.power_levels", "")
    base = room.events[before[key]]
    previous = base.event_id
    for number in range(100_000):
        event = replace(base, event_id=f"${number:07}", auth_events=(*base.auth_events, previous))
        room.events[event.event_id] = event
        previous = event.event_id
    assert merge(room, [before, {**before, key: previous}])[key] == previous


def test_events_that_cite_each_other() -> None:
    """A circle, which versions with chosen ids allow, ends: its events are left out."""
    room = public_room("2")
    base = room.now()
    levels = ("m.room.power_levels", "")
    first = room.draft(ALICE, "m.room.power_levels", {"users": {ALICE: 100}}, "")
    others = tuple(one for one in first.auth_events if one != base[levels])
    first = replace(first, event_id="$first:a.example", auth_events=(*others, "$second:a.example"))
    second = replace(first, event_id="$second:a.example", auth_events=(*others, first.event_id))
    other = room.draft(ALICE, "m.room.topic", {}, "")
    cites = tuple(first.event_id if room.events[one].key == levels else one for one in other.auth_events)
    topic = replace(other, event_id="$topic:a.example", auth_events=cites)
    room.events.update({event.event_id: event for event in (first, second, topic, other)})
    forks = [{**base, levels: first.event_id, topic.key: topic.event_id}, {**base, topic.key: other.event_id}]
    state = merge(room, forks)
    assert state == {**base, topic.key: other.event_id}


def test_version_1_takes_the_lowest_if_none_is_allowed() -> None:
    """Of topics that nobody may set any more, the lowest stands, as with other servers."""
    room = public_room("1")
    base = tuple(room.tips)
    topics = [room.send(BOB, "m.room.topic", {"topic": name}, "", prev=base) for name in ("one", "two")]
    demoted = room.power(ALICE, {"users": {ALICE: 100}}, prev=base)
    forks = [{**room.state_after[one.event_id], demoted.key: demoted.event_id} for one in topics]
    assert merge(room, forks)[topics[0].key] in {one.event_id for one in topics}
    deeper = replace(topics[1], depth=99)
    assert merge(room, forks, {**room.events, deeper.event_id: deeper})[deeper.key] == topics[0].event_id
