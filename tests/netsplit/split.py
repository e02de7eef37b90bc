"""One netsplit: three servers in a room, parted, busy, joined again, compared."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.builders.allies import Ally
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3
from tests.netsplit.people import Side

# How long the servers may take to agree: after an outage they call each other seldom.
HEALING_SECONDS = 300.0
MAX_PAGES = 500
VERSIONS = [str(number) for number in range(6, 13)]


@dataclass
class Outcome:
    """What was compared. `soft_failed` says, by server, which events it does not show."""

    version: str
    seed: int
    events: int
    state: int
    sent: int
    done: dict[str, int]
    soft_failed: dict[str, list[str]] = field(default_factory=dict)


async def split_and_heal(
    allies: Sequence[Ally], clients: Sequence[Sequence[MatrixClient]], version: str, seed: int, messages: int
) -> Outcome:
    """`messages`: about so many things are done on each side. AssertionError unless all agree at last."""
    dice = random.Random(f"{seed} {version}")
    sides = [Side(list(people), ally=ally) for ally, people in zip(allies, clients, strict=True)]
    first = sides[0]
    # The moderators stay: a server that nobody is left of is no part of the room, and hears no more of it.
    targets = [person.user_id for side in sides for person in side.people[1:]]
    powers = {side.people[0].user_id: 50 for side in sides[1:]}
    room = await first.people[0].create_room(
        preset="public_chat",
        room_version=version,
        power_level_content_override={"users": _levels(first, version, powers)},
    )
    for side in sides:
        for person in side.people:
            if person is not first.people[0]:
                await person.join(room, via=[first.ally.name])
    # Whoever joined while another server was coming in is unknown there until somebody speaks who knows both.
    for side in sides:
        await _speak(side, room, "hello")
    await until(lambda: _agree(sides, room), HEALING_SECONDS, "all are in the room")
    for side in sides:
        side.ally.cut()
    await asyncio.gather(*(_be_busy(side, random.Random(dice.random()), room, targets, messages) for side in sides))
    for side in sides:
        side.ally.heal()
    await _meet_again(sides, room)
    return _compared(sides, room, version, seed)


def _levels(first: Side, version: str, powers: dict[str, int]) -> dict[str, int]:
    """The creator's own level stands there only where it is not implied."""
    return powers if version == "12" else {first.people[0].user_id: 100, **powers}


async def _be_busy(side: Side, dice: random.Random, room: str, targets: list[str], messages: int) -> None:
    """Whatever the dice say, a moderator speaks first and last: no side is ever silent."""
    await side.talk(room, "parted")
    for _ in range(messages):
        await side.act(dice, room, targets)
    await side.talk(room, "still-parted")


async def _meet_again(sides: Sequence[Side], room: str) -> None:
    """Every server says something; all hear of it, and then fill their gaps by reading back."""
    spoken = {await _speak(side, room, "healed") for side in sides}
    # A server that was away is left alone for a while.
    await until(lambda: _have_heard(sides, room, spoken), HEALING_SECONDS, "all have heard of all")
    await until(lambda: _is_quiet(sides), HEALING_SECONDS, "nothing waits to be sent or let in")
    await until(lambda: _is_whole(sides, room), HEALING_SECONDS, "all gaps are filled by reading back")
    await until(lambda: _agree(sides, room), HEALING_SECONDS, "all agree")


async def _speak(side: Side, room: str, txn_id: str) -> str:
    """Somebody who may still speak says something, so that the others hear of this side: the id of the event."""
    for person in side.people:
        body = {"msgtype": "m.text", "body": "are you there?"}
        answer = await person.ask("PUT", v3("rooms", room, "send", "m.room.message", txn_id), body)
        if answer.status == 200:
            event_id: str = answer.body["event_id"]
            return event_id
    raise AssertionError(f"nobody of {side.ally.name} may speak")


async def _have_heard(sides: Sequence[Side], room: str, event_ids: set[str]) -> bool:
    return all(event_ids <= _stored(side.ally, room) for side in sides)


async def _is_quiet(sides: Sequence[Side]) -> bool:
    busy = ("parley_pdus_waiting", "parley_destinations_behind", "parley_staged_rooms")
    for side in sides:
        if any([await side.ally.metric(name) for name in busy]) or side.ally.rows("SELECT 1 FROM staged_pdus LIMIT 1"):
            return False
    return True


async def _is_whole(sides: Sequence[Side], room: str) -> bool:
    """Whether all hold the same events once everybody has read back."""
    for side in sides:
        await _read_back(side, room)
    return len({_stored(side.ally, room) for side in sides}) == 1


async def _read_back(side: Side, room: str) -> None:
    """Pages through the whole history, as one who may: the gaps on the way are filled."""
    for person in side.people:
        start = None
        for _ in range(MAX_PAGES):
            query = {"dir": "b", "limit": 100} | ({} if start is None else {"from": start})
            answer = await person.ask("GET", v3("rooms", room, "messages"), query=query)
            if answer.status != 200:
                break
            start = answer.body.get("end")
            if start is None:
                return


async def _agree(sides: Sequence[Side], room: str) -> bool:
    return len({_state(side.ally, room) for side in sides}) == 1


def _state(ally: Ally, room: str) -> frozenset[str]:
    """The ids of the events of the current state."""
    sql = (
        "SELECT e.event_id FROM rooms r JOIN current_state c ON c.room = r.number AND c.generation = r.state_generation"
        " JOIN events e ON e.number = c.event WHERE r.room_id = %s"
    )
    return frozenset(row[0] for row in ally.rows(sql, room))


def _stored(ally: Ally, room: str) -> frozenset[str]:
    """The ids of all events that are held, whatever the verdict."""
    sql = "SELECT e.event_id FROM events e JOIN rooms r ON r.number = e.room WHERE r.room_id = %s"
    return frozenset(row[0] for row in ally.rows(sql, room))


def _compared(sides: Sequence[Side], room: str, version: str, seed: int) -> Outcome:
    states = [_state(side.ally, room) for side in sides]
    stored = [_stored(side.ally, room) for side in sides]
    told = f"version {version}, seed {seed}, room {room}"
    assert states[0] == states[1] == states[2], f"{told}: the states differ by {_apart(states)}"
    assert stored[0] == stored[1] == stored[2], f"{told}: the events differ by {_apart(stored)}"
    done: dict[str, int] = {}
    for side in sides:
        for name, count in side.done.items():
            done[name] = done.get(name, 0) + count
    sent = {event_id for side in sides for event_id in side.sent}
    lost = sent - stored[0]
    assert not lost, f"{told}: nobody holds {sorted(lost)[:10]}"
    outcome = Outcome(version, seed, len(stored[0]), len(states[0]), len(sent), done)
    sql = (
        "SELECT e.event_id FROM events e JOIN rooms r ON r.number = e.room WHERE r.room_id = %s"
        " AND (e.soft_failed IS NOT NULL OR e.rejected IS NOT NULL)"
    )
    hidden = {side.ally.name: frozenset(row[0] for row in side.ally.rows(sql, room)) for side in sides}
    outcome.soft_failed = {name: sorted(ids) for name, ids in hidden.items()}
    return outcome


def _apart(sets: Sequence[frozenset[str]]) -> list[list[str]]:
    """How much each has that not all have, and the first of it."""
    common = frozenset.intersection(*sets)
    return [[f"{len(one - common)} in all", *sorted(one - common)[:10]] for one in sets]
