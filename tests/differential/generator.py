"""Rooms with ugly histories, and the questions about them; the same for the same seed.

A room is opened and set up, mostly well. Then people act: after the newest event, after an old one (a fork, as a late
or a partitioned server makes it), or after several (a merge). The questions: may this event be sent into the state
before it, into the state of another branch, into a state that lacks something? What is the state that several
branches resolve to?
"""

from collections.abc import Iterator, Sequence
from random import Random

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.event import StateMap
from homeserver.domain.versions import RoomVersion
from tests.differential import contents
from tests.differential.actions import next_intent
from tests.differential.cases import Judgement, Room
from tests.differential.contents import USERS, chance
from tests.differential.history import History, Intent, Node


def rooms(version: RoomVersion, seed: int) -> Iterator[Room]:
    """Rooms of `version`, without end."""
    number = 0
    while True:
        yield room(version, f"{seed}/{version.identifier}/{number}")
        number += 1


def room(version: RoomVersion, seed: str) -> Room:
    """The room of one seed."""
    rng = Random(seed)
    history = History(rng, version)
    creator = rng.choice(USERS[:4])
    history.open(creator, contents.create(rng, version, creator))
    _set_up(history, creator)
    for _ in range(rng.randrange(14, 36)):
        prevs = _prevs(history)
        history.send(next_intent(history, history.state_of(prevs)), prevs)
    _bad_creates(history)
    judgements = tuple(_judgements(history))
    resolutions = tuple(_resolution(history) for _ in range(len(judgements) // 3))
    return Room(
        version,
        seed,
        history.room_id,
        history.create_id,
        dict(history.events),
        frozenset(history.rejected),
        judgements,
        resolutions,
    )


def _set_up(history: History, creator: str) -> None:
    """The events of room creation; now and then one is left out."""
    rng = history.rng
    content = history.events[history.create_id].content
    creator = content.get("creator", creator)
    privileged = history.version.privileged_creators
    privileged_users = {creator, *content.get("additional_creators", ())} if privileged else set()
    users = {creator: 100, **{user: rng.choice((0, 50, 50, 100)) for user in rng.sample(USERS, 2)}}
    levels: contents.Content = {
        "users": {user: level for user, level in users.items() if user not in privileged_users},
        "users_default": rng.choice((0, 0, 0, 50)),
    }
    if chance(rng, 0.5):
        levels.update(rng.choice(({"invite": 0}, {"invite": 50}, {"kick": 0, "ban": 100}, {"state_default": 0})))
    steps = (
        Intent(creator, "m.room.member", {"membership": "join"}, creator),
        Intent(creator, "m.room.power_levels", levels, ""),
        Intent(creator, "m.room.join_rules", contents.join_rules(rng, 0.01), ""),
    )
    for step in steps:
        if chance(rng, 0.96):
            history.send(step, history.extremities[-1:])


def _prevs(history: History) -> Sequence[Node]:
    """What the next event follows: the newest, an old one (fork), or all ends (merge)."""
    rng = history.rng
    kind = rng.random()
    if kind < 0.25:
        return [rng.choice(history.nodes[-12:])]
    if kind < 0.35 and len(history.extremities) > 1:
        return list(history.extremities[-3:])
    return [rng.choice(history.extremities)]


def _bad_creates(history: History) -> None:
    """Create events that stand alone; they are judged and belong to no history."""
    rng = history.rng
    for _ in range(rng.choice((0, 0, 1, 2))):
        sender = rng.choice(USERS)
        content = contents.create(rng, history.version, sender)
        if chance(rng, 0.8):
            contents.spoil_create(rng, content)
        known = len(history.events)
        prevs = history.nodes[:1] if chance(rng, 0.15) else ()
        event = history.write(Intent(sender, "m.room.create", content, ""), prevs, {})
        if len(history.events) > known:
            history.before[event.event_id] = {}


def _judgements(history: History) -> Iterator[Judgement]:
    """Every event against the state before it, and some against other states."""
    rng = history.rng
    for event_id in history.events:
        state = history.before.get(event_id, {})
        yield Judgement(event_id, tuple(state.values()))
        if chance(rng, 0.3):
            other = dict(rng.choice(history.nodes).state)
            for key in rng.sample(sorted(other), min(len(other), rng.choice((0, 0, 1, 2)))):
                if key != CREATE or chance(rng, 0.1):
                    del other[key]
            yield Judgement(event_id, tuple(other.values()))


def _resolution(history: History) -> tuple[StateMap, ...]:
    """Two to four states that branches of the room stand in; sometimes one of them lacks entries."""
    rng = history.rng
    ends = history.extremities if chance(rng, 0.3) and len(history.extremities) > 1 else history.nodes
    count = min(len(ends), rng.choice((2, 2, 2, 3, 4)))
    forks = [dict(node.state) for node in rng.sample(list(ends), count)]
    if chance(rng, 0.15):
        fork = rng.choice(forks)
        for key in rng.sample(sorted(fork), min(len(fork), 2)):
            if key != CREATE:
                del fork[key]
    return tuple(forks)
