"""What a hostile server sends into our rooms: each bad event is refused alone, and the room goes on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import Counter

from homeserver.domain.canonical import MAX_INTEGER, parse_json
from homeserver.domain.event import Event
from homeserver.telemetry.metrics import PDUS_CHECKED, PDUS_RECEIVED
from tests.builders.identity import TS, KnownRoom, PeerRoom
from tests.federation.hostile import MEMBER, Hostile, path
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = "m.room.message"
# How often what is missing is asked for.
TRIES = 4
STRICT = pytest.mark.parametrize("version", ["6", "11", "12"])
DEPTHS = (2**63 - 1, 2**63, 2**53, -1, 7.5, 1e300, "7", None, True, [7])


def value(counter: Counter) -> float:
    found: float = counter._value.get()
    return found


def lie(mallory: Hostile, room: KnownRoom, **changes: Any) -> Event:
    """A message that is signed and hashed well, and says something else than it should."""
    pdu = room.draft(mallory.user("eve"), MESSAGE, {"body": "bad"}).pdu
    return mallory.read(room.version, mallory.sealed(room.version, {**pdu, **changes}))


def biggest(obj: object) -> float:
    """The number in this JSON that is farthest from 0."""
    if isinstance(obj, Mapping):
        return max((biggest(one) for one in obj.values()), default=0)
    if isinstance(obj, list | tuple):
        return max((biggest(one) for one in obj), default=0)
    return abs(obj) if isinstance(obj, int | float) else 0


async def everything_told(ours: Ours, mallory: Hostile, room: KnownRoom) -> list[Any]:
    """What ours gives of the room: events, state, and the place for the next one."""
    last = (await ours.timeline(room.room_id))[-1]
    told = [
        await mallory.ask("GET", path("v1", "event", last)),
        await mallory.ask("GET", path("v1", "backfill", room.room_id), v=[last], limit=100),
        await mallory.ask("GET", path("v1", "state", room.room_id), event_id=last),
        await mallory.ask(
            "POST", path("v1", "get_missing_events", room.room_id), {"latest_events": [last], "earliest_events": []}
        ),
        await mallory.ask(
            "GET", path("v1", "make_join", room.room_id, mallory.user("more")), ver=[room.version.identifier]
        ),
    ]
    assert [one.status for one in told] == [200] * len(told)
    return [parse_json(one.raw, strict=False) for one in told]


@STRICT
async def test_attack_01_depths_that_are_none(ours: Ours, mallory: Hostile, version: str) -> None:
    """Each is refused alone, under its own id; what came with them stands, and the room goes on."""
    room = await mallory.join(await ours.room(version))
    lies = [{**lie(mallory, room, depth=1).pdu, "depth": depth} for depth in DEPTHS]
    signed = [sign_anything(mallory, room, pdu) for pdu in lies]
    good = room.send(mallory.user("eve"), MESSAGE, {"body": "good"})
    answer = await mallory.send(*signed, good.pdu)
    assert answer.pop(good.event_id) == {}
    assert all("error" in one for one in answer.values())
    assert [await ours.verdict(event_id) for event_id in answer] == [None] * len(answer)
    mine = await ours.say(ALICE, room.room_id, "still here")
    assert await ours.bodies(room.room_id) == ["good", "still here"]
    assert (await ours.event(room.room_id, mine)).depth == good.depth + 1
    assert all(biggest(told) <= MAX_INTEGER for told in await everything_told(ours, mallory, room))


def sign_anything(mallory: Hostile, room: KnownRoom, pdu: Mapping[str, Any]) -> dict[str, Any]:
    """As in the first versions, whose canonical JSON knows more numbers."""
    return mallory.sealed(replace(room.version, strict_canonical_json=False), pdu)


@pytest.mark.parametrize(
    ("version", "limit"), [("1", 2**63 - 1), ("5", 2**63 - 1), ("6", MAX_INTEGER), ("12", MAX_INTEGER)]
)
async def test_attack_01_the_deepest_event(ours: Ours, mallory: Hostile, version: str, limit: int) -> None:
    """An event as deep as can be is a good one; what we say after it is as deep, and no deeper, and others take it."""
    room = await mallory.join(await ours.room(version))
    deepest = room.send(mallory.user("eve"), MESSAGE, {"body": "deepest"}, depth=limit)
    assert await mallory.send(deepest.pdu) == {deepest.event_id: {}}
    for number in range(2):
        mine = await ours.say(ALICE, room.room_id, f"after {number}")
        assert (await ours.event(room.room_id, mine)).depth == limit
    after = await mallory.join(room.room_id, "more")
    assert after.events[-1].depth == limit
    assert await ours.bodies(room.room_id) == ["deepest", "after 0", "after 1"]
    assert all(biggest(told) <= limit for told in await everything_told(ours, mallory, room))


BAD: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "number": lambda pdu: {**pdu, "content": {"body": "bad", "number": 2**53}},
    "float": lambda pdu: {**pdu, "content": {"body": "bad", "number": 1.5}},
    "time": lambda pdu: {**pdu, "origin_server_ts": "now"},
    "content": lambda pdu: {**pdu, "content": ["bad"]},
    "sender": lambda pdu: {**pdu, "sender": 7},
    "references": lambda pdu: {**pdu, "prev_events": [{"a": 1}], "auth_events": "none"},
    "deep": lambda pdu: {**pdu, "content": deep(200)},
    "hashes": lambda pdu: {**pdu, "hashes": None},
    "signatures": lambda pdu: {**pdu, "signatures": {"a": ["b"]}},
    "room": lambda pdu: {**pdu, "room_id": {"!a": "b"}},
    "list": lambda pdu: [pdu],
    "null": lambda pdu: None,
}


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


@pytest.mark.parametrize("bad", BAD)
async def test_attack_02_one_bad_event_of_fifty(ours: Ours, mallory: Hostile, bad: str) -> None:
    """49 are stored, and the answer is 200, with an error for the bad one if it can be named at all."""
    room = await mallory.join(await ours.room("11"))
    good = [room.send(mallory.user("eve"), MESSAGE, {"body": str(number)}) for number in range(49)]
    pdus: list[object] = [event.pdu for event in good]
    wrong = BAD[bad](room.draft(mallory.user("eve"), MESSAGE, {"body": "bad"}).pdu)
    pdus.insert(25, wrong)
    answer = await mallory.send(*pdus)
    assert {event.event_id: answer.pop(event.event_id) for event in good} == {event.event_id: {} for event in good}
    assert all("error" in one for one in answer.values())
    assert len(answer) == (0 if bad in ("content", "room", "list", "null") else 1), answer
    assert await ours.bodies(room.room_id) == [str(number) for number in range(49)]


async def test_attack_11_what_authorises_nothing(ours: Ours, mallory: Hostile) -> None:
    """An event that cites one of another room, the same twice, two of one key, one too many, or a message: rejected."""
    elsewhere = await mallory.join(await ours.room("11"))
    room = await mallory.join(await ours.room("11"))
    eve = mallory.user("eve")
    right = [room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""), (MEMBER, eve))]
    said = room.send(eve, MESSAGE, {"body": "said"})
    assert await mallory.send(said.pdu) == {said.event_id: {}}
    wrong = {
        "another room": [*right[:2], elsewhere.state[MEMBER, eve]],
        "another room's create": [elsewhere.state["m.room.create", ""], *right[1:]],
        "twice": [*right, right[2]],
        "two of a key": [*right, room.state[MEMBER, ALICE], room.state[MEMBER, ALICE]],
        "one too many": [*right, room.state["m.room.history_visibility", ""]],
        "another member": [*right, room.state[MEMBER, ALICE]],
        "a message": [*right, said],
        "no create": right[1:],
    }
    for what, auth in wrong.items():
        event = room.draft(eve, MESSAGE, {"body": what}, auth=auth)
        assert "error" in (await mallory.send(event.pdu))[event.event_id], what
        assert await ours.verdict(event.event_id) == "rejected", what
    assert await ours.bodies(room.room_id) == ["said"]
    await ours.say(ALICE, room.room_id, "and on")
    await ours.check_now(room.room_id)


async def test_attack_11_what_authorises_is_nowhere(ours: Ours, mallory: Hostile) -> None:
    """It is asked for a few times, and what cites it is dropped; a stranger's events in the answer count nothing."""
    room = await mallory.join(await ours.room("11"))
    eve = mallory.user("eve")
    unknown = PeerRoom(mallory, "11")
    event = room.draft(eve, MESSAGE, {"body": "lie"}, auth=[*unknown.events[:3]])
    mallory.lies["event_auth"] = lambda asked: {"auth_chain": [one.pdu for one in unknown.events]}
    assert await mallory.send(event.pdu) == {event.event_id: {}}
    await ours.settled()
    assert await ours.verdict(event.event_id) is None
    assert [await ours.verdict(one.event_id) for one in unknown.events] == [None] * len(unknown.events)
    assert mallory.asked["event_auth"] <= TRIES


async def test_attack_12_what_cites_a_rejected_event(ours: Ours, mallory: Hostile) -> None:
    """An event that cites a rejected one is rejected too, although its sender may do what it says."""
    room = await mallory.join(await ours.room("11"))
    eve = mallory.user("eve")
    right = [room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    standing = room.state[MEMBER, eve]
    useless = room.state["m.room.history_visibility", ""]
    renamed = room.draft(eve, MEMBER, {"membership": "join", "displayname": "E"}, eve, auth=[*right, standing, useless])
    said = room.draft(eve, MESSAGE, {"body": "as E"}, auth=[*right, renamed])
    for event in (renamed, said):
        assert "error" in (await mallory.send(event.pdu))[event.event_id]
        assert await ours.verdict(event.event_id) == "rejected"
    good = room.send(eve, MESSAGE, {"body": "as eve"})
    assert await mallory.send(good.pdu) == {good.event_id: {}}
    assert await ours.bodies(room.room_id) == ["as eve"]
    await ours.check(room.room_id)


async def test_bad_signatures_are_counted_and_logged_once(
    ours: Ours, mallory: Hostile, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each event, with who sent it and why it was refused."""
    room = await mallory.join(await ours.room("11"))
    event = room.draft(mallory.user("eve"), MESSAGE, {"body": "hello"})
    lies = [
        {**event.pdu, "signatures": {}},
        {**event.pdu, "signatures": {mallory.name: {mallory.key_id: "AAAA"}}},
        {**event.pdu, "depth": -1},
    ]
    counters = [PDUS_CHECKED.labels("signature"), PDUS_CHECKED.labels("format"), PDUS_RECEIVED.labels("refused")]
    for pdu, counted in zip(lies, ((1, 0, 1), (1, 0, 1), (0, 1, 1)), strict=True):
        before = [value(counter) for counter in counters]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert all("error" in one for one in (await mallory.send(pdu)).values())
        assert [value(counter) - was for counter, was in zip(counters, before, strict=True)] == list(counted)
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
            "refused a PDU"
        ]
    assert await ours.bodies(room.room_id) == []


@pytest.mark.parametrize("version", ["3", "11"])
async def test_odd_events_that_are_allowed(ours: Ours, mallory: Hostile, version: str) -> None:
    """What no honest client would say, and the rules allow: kept, shown, and given on as it came."""
    room = await mallory.join(await ours.room(version))
    eve = mallory.user("eve")
    odd: list[dict[str, Any]] = [
        {"body": "nul \u0000 in it"},
        {"body": ["no text"], "msgtype": 7},
        {"body": "x", "m.relates_to": "nothing", "m.mentions": [1]},
        {"body": "x", "m.relates_to": {"rel_type": "m.replace", "event_id": 7}, "m.new_content": None},
        {"body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": "$nowhere"}},
        {"body": "x", "": {"": ""}},
        {"membership": "join", "body": "\U0001f600" * 500},
        {},
    ]
    if not room.version.strict_canonical_json:
        odd.append({"body": "numbers", "n": 2**80, "f": 1.5e300})
    events = [room.send(eve, MESSAGE, content) for content in odd]
    events += [room.send(eve, "", {"body": "no type"}), room.send(eve, "t" * 255, {}, eve)]
    events.append(room.send(eve, MESSAGE, {"body": "old"}, ts=-MAX_INTEGER))
    events.append(room.send(eve, MESSAGE, {"body": "from tomorrow"}, ts=TS + 24 * 3600 * 1000))
    answer = await mallory.send(*[event.pdu for event in events])
    refused = {event.event_id: event.type for event in events if answer[event.event_id]}
    assert list(refused.values()) == ["t" * 255], "a state event, which needs power"
    shown = {one["event_id"]: one["content"] for one in await ours.read_back(room.room_id)}
    accepted = [event for event in events if event.event_id not in refused]
    assert [shown[event.event_id] for event in accepted] == [event.content for event in accepted]
    for event in accepted:
        told = await mallory.ask("GET", path("v1", "event", event.event_id))
        assert parse_json(told.raw, strict=False)["pdus"] == [event.pdu]
