"""A hostile server that is asked for what is missing: it omits, lies, or sends us round in circles.

However it answers, it is asked a bounded number of times, and where something is missing at last a gap is marked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pytest

from federation.inbound import gaps
from homeserver.domain.event import Event
from homeserver.domain.filters import EventFilter
from homeserver.services.rooms.history import PageRequest
from tests.builders.identity import KnownRoom, PeerRoom
from tests.builders.peer import Reply
from tests.federation.hostile import Hostile, Question
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = "m.room.message"
# Rounds that a server can cost us: it alone is asked, or one more that has nothing to tell.
ROUNDS, FETCHES, TRIES = 6, 20, 4


def invented(mallory: Hostile, room: KnownRoom, before: Sequence[str], text: str) -> Event:
    """An event that follows what nobody has, and is signed well."""
    event = room.draft(mallory.user("eve"), MESSAGE, {"body": text}, depth=50)
    pdu = mallory.sealed(room.version, {**event.pdu, "prev_events": list(before)})
    return mallory.read(room.version, pdu)


Lie = Callable[[Hostile, KnownRoom, Event], Callable[[Question], Any]]


def omits(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    return lambda question: {"events": []}


def the_same(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    return lambda question: {"events": [late.pdu] * 10}


def endless(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    """Each answer has one more event, which leads on to nowhere."""
    count = iter(range(10_000))

    def lie(question: Question) -> Any:
        number = next(count)
        return {"events": [invented(mallory, room, [f"${number + 1:043}"], f"invented {number}").pdu]}

    return lie


def crowds(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    """As many as we ask for, each of which follows something else that nobody has."""
    count = iter(range(100_000))

    def lie(question: Question) -> Any:
        wanted = range(question.body["limit"])
        return {"events": [invented(mallory, room, [f"${next(count):043}"], "one of many").pdu for _ in wanted]}

    return lie


def too_many(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    return lambda question: {"events": [late.pdu] * 1000}


def no_list(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    return lambda question: {"events": {"a": [1, None]}}


def garbage(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    return lambda question: {"events": [None, 7, "x", {}, {"room_id": room.room_id}]}


def error(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    return lambda question: Reply(500, {"errcode": "M_UNKNOWN"})


def elsewhere(mallory: Hostile, room: KnownRoom, late: Event) -> Callable[[Question], Any]:
    other = PeerRoom(mallory, room.version.identifier)
    return lambda question: {"events": [event.pdu for event in other.events]}


LIES: Sequence[Lie] = (omits, the_same, endless, crowds, too_many, no_list, garbage, error, elsewhere)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("version", ["3", "12"])
async def test_attack_19_lies_about_missing_events(ours: Ours, mallory: Hostile, version: str, lie: Lie) -> None:
    """The late event is shown after a gap, since the state before it was told; the server was asked a few times."""
    room = await mallory.join(await ours.room(version))
    eve = mallory.user("eve")
    room.send(eve, MESSAGE, {"body": "withheld"})
    late = room.send(eve, MESSAGE, {"body": "late"})
    mallory.lies["get_missing_events"] = lie(mallory, room, late)
    assert await mallory.send(late.pdu) == {late.event_id: {}}
    await ours.settled()
    [item] = [one for one in ours.event_items(room.room_id) if one.event_id == late.event_id]
    assert item.gap_before
    assert mallory.asked["get_missing_events"] <= ROUNDS + 1
    assert mallory.asked["state_ids"] <= FETCHES + 1
    await ours.say(ALICE, room.room_id, "and on")
    assert (await ours.bodies(room.room_id))[-1] == "and on"


STATES: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "nothing": lambda truth: {"pdu_ids": [], "auth_chain_ids": []},
    "no lists": lambda truth: {"pdu_ids": None, "auth_chain_ids": 7},
    "no ids": lambda truth: {**truth, "pdu_ids": [7, {}]},
    "unknown": lambda truth: {**truth, "pdu_ids": [f"${number:043}" for number in range(30)]},
    "no create": lambda truth: {**truth, "pdu_ids": truth["pdu_ids"][1:]},
    "an error": lambda truth: Reply(404, {"errcode": "M_NOT_FOUND"}),
}


@pytest.mark.parametrize("lie", STATES)
async def test_attack_19_lies_about_the_state(ours: Ours, mallory: Hostile, lie: str) -> None:
    """Neither what is missing nor a state can be had: after a few tries the event is dropped, and the room goes on."""
    room = await mallory.join(await ours.room("11"))
    state = await ours.state(room.room_id)
    eve = mallory.user("eve")
    room.send(eve, MESSAGE, {"body": "withheld"})
    late = room.send(eve, MESSAGE, {"body": "late"})
    mallory.lies["get_missing_events"] = lambda question: {"events": []}
    mallory.lies["state_ids"] = lambda question: STATES[lie](mallory.truth(question))
    assert await mallory.send(late.pdu) == {late.event_id: {}}
    await ours.settled()
    assert await ours.verdict(late.event_id) is None
    assert await ours.state(room.room_id) == state
    assert mallory.asked["get_missing_events"] <= TRIES * ROUNDS
    assert mallory.asked["state_ids"] <= TRIES
    assert mallory.asked["event"] <= TRIES * gaps.MAX_SINGLE
    await ours.say(ALICE, room.room_id, "and on")
    assert await ours.bodies(room.room_id) == ["and on"]


async def test_attack_19_a_circle_of_events(ours: Ours, mallory: Hostile) -> None:
    """Where ids are chosen, two events can follow each other: they end in no loop of ours."""
    room = await mallory.join(await ours.room("1"))
    eve = mallory.user("eve")
    one, two = (room.draft(eve, MESSAGE, {"body": body}) for body in ("one", "two"))
    pairs = [[[other.event_id, {"sha256": "A" * 43}]] for other in (two, one)]
    circle = [
        mallory.read(room.version, mallory.sealed(room.version, {**event.pdu, "prev_events": pair}))
        for event, pair in zip((one, two), pairs, strict=True)
    ]
    room.events += circle
    itself = room.draft(eve, MESSAGE, {"body": "itself"}, prev=[])
    itself = mallory.read(
        room.version,
        mallory.sealed(room.version, {**itself.pdu, "prev_events": [[itself.event_id, {"sha256": "A" * 43}]]}),
    )
    room.events.append(itself)
    mallory.lies["get_missing_events"] = lambda question: {"events": [event.pdu for event in (*circle, itself)]}
    await mallory.send(*[event.pdu for event in (*circle, itself)])
    await ours.settled()
    assert mallory.asked.total() <= 60
    assert [await ours.verdict(event.event_id) for event in (*circle, itself)] == ["accepted"] * 3
    await ours.say(ALICE, room.room_id, "and on")
    assert "and on" in await ours.bodies(room.room_id)
    assert len(await ours.read_back(room.room_id)) < 30


async def test_attack_19_history_without_end(ours: Ours, mallory: Hostile) -> None:
    """Who reads back into a room of a server that gives one event an answer waits for a few answers, and has a page."""
    room = PeerRoom(mallory, "11")
    mallory.rooms[room.room_id] = room
    for number in range(60):
        room.send(room.creator, MESSAGE, {"body": str(number)})

    def lie(question: Question) -> Any:
        pdus = [event.pdu for event in room.events if event.event_id in question.query["v"]]
        return {"origin": mallory.name, "origin_server_ts": 0, "pdus": pdus}

    mallory.lies["backfill"] = lie
    await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    for page in range(1, 3):
        request = PageRequest(room.room_id, None, None, True, 100, EventFilter())
        answer = orjson.loads(await ours.services.history.page(ALICE, "DEVICE", request))
        assert len(answer["chunk"]) == 1 + 5 * page
        assert "end" in answer, "there is more"
        assert mallory.asked["backfill"] == 5 * page


async def test_attack_19_history_that_leads_nowhere(ours: Ours, mallory: Hostile) -> None:
    """Events that lead to no event of ours are no history of it: the gap stays, and nobody is asked for ever."""
    room = PeerRoom(mallory, "11", creator="eve")
    mallory.rooms[room.room_id] = room
    count = iter(range(10_000))

    def lie(question: Question) -> Any:
        number = next(count)
        event = invented(mallory, room, [f"${number + 1:043}"], f"invented {number}")
        return {"origin": mallory.name, "origin_server_ts": 0, "pdus": [event.pdu]}

    mallory.lies["backfill"] = lie
    await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    await ours.say(ALICE, room.room_id, "and on")
    assert await ours.bodies(room.room_id) == ["and on"]
    assert mallory.asked["backfill"] <= 5


async def test_a_state_of_other_rooms(ours: Ours, mallory: Hostile) -> None:
    """Events of other rooms in a state that we are told do not come into the room."""
    other = await mallory.join(await ours.room("11"))
    room = await mallory.join(await ours.room("11"))
    eve = mallory.user("eve")
    room.send(eve, MESSAGE, {"body": "withheld"})
    late = room.send(eve, MESSAGE, {"body": "late"})
    mallory.lies["get_missing_events"] = lambda question: {"events": []}
    more = [event.event_id for event in other.state.values()]

    def lie(question: Question) -> Any:
        truth = mallory.truth(question)
        return truth | {"pdu_ids": truth["pdu_ids"] + more}

    mallory.lies["state_ids"] = lie
    before = await ours.state(room.room_id)
    await mallory.send(late.pdu)
    await ours.settled()
    assert await ours.state(room.room_id) == before
