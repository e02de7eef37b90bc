"""Forged and unsigned events by every way into our rooms: what is forged loses its content, what is unsigned is gone.

An event is forged here whose honest form has the same id: somebody changed what was said on its way.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from homeserver.domain.errors import RemoteError
from homeserver.domain.event import Event
from homeserver.domain.versions import V11
from tests.builders.identity import KnownRoom, PeerRoom
from tests.federation.hostile import Hostile, path
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE, BOB

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE, TOPIC = "m.room.message", "m.room.topic"
Pdu = Mapping[str, Any]
Spoil = Callable[[Hostile, Event], Pdu]


def forged(mallory: Hostile, event: Event) -> Pdu:
    changed = {"body": "forged", "topic": "forged", "name": "forged"}
    return {**event.pdu, "content": {**event.content, **changed}}


def unsigned(mallory: Hostile, event: Event) -> Pdu:
    return {**event.pdu, "signatures": {}}


def signed_by_another(mallory: Hostile, event: Event) -> Pdu:
    """Mallory's signature, in the name of the sender's server."""
    theirs = mallory.signed(event.version, {**event.pdu, "signatures": {}})["signatures"][mallory.name]
    return {**event.pdu, "signatures": {event.sender.partition(":")[2]: theirs, mallory.name: theirs}}


def spoiling(pdus: Sequence[Pdu], spoiled: Mapping[str, Pdu], mallory: Hostile, room: KnownRoom) -> list[Pdu]:
    """The same PDUs, with some replaced by id."""
    return [spoiled.get(mallory.read(room.version, pdu, room.room_id).event_id, pdu) for pdu in pdus]


class Way:
    """A way in: `take` brings a room into ours with an event of `honest` in it, spoiled on its way by `mallory`."""

    def __init__(self, ours: Ours, mallory: Hostile, honest: Hostile) -> None:
        self.ours, self.mallory, self.honest = ours, mallory, honest

    def spoil(self, room: KnownRoom, event: Event, pdu: Pdu) -> None:
        """Mallory answers as an honest server would, but for this event. It is the only one who has it."""
        mallory, spoiled = self.mallory, {event.event_id: pdu}

        def lie(question: Any) -> Any:
            truth = mallory.truth(question)
            lists = {key: one for key, one in truth.items() if isinstance(one, list) and key != "servers_in_room"}
            return truth | {key: spoiling(one, spoiled, mallory, room) for key, one in lists.items()}

        for endpoint in ("get_missing_events", "event", "state", "event_auth", "send_join", "backfill"):
            mallory.lies.setdefault(endpoint, lie)

    async def shared_room(self) -> KnownRoom:
        """A room of ours that both servers have joined; `honest` is known by `eve`, and may set topics."""
        room_id = await self.ours.room("11")
        await self.ours.set_levels(ALICE, room_id, state_default=0)
        theirs = await self.honest.join(room_id)
        room = await self.mallory.join(room_id)
        theirs.add(room.events[-1])
        room._peers[self.honest.name] = self.honest
        return room

    async def send(self, spoil: Spoil) -> tuple[str, Event]:
        """A transaction of mallory with an event of an honest server."""
        room = await self.shared_room()
        event = room.send(self.honest.user("eve"), MESSAGE, {"body": "honest"})
        self.spoil(room, event, spoil(self.mallory, event))
        await self.mallory.send(spoil(self.mallory, event))
        return room.room_id, event

    async def missing_events(self, spoil: Spoil) -> tuple[str, Event]:
        room = await self.shared_room()
        event = room.send(self.honest.user("eve"), MESSAGE, {"body": "honest"})
        self.spoil(room, event, spoil(self.mallory, event))
        await self.mallory.send(room.send(self.mallory.user("eve"), MESSAGE, {"body": "late"}).pdu)
        return room.room_id, event

    async def state(self, spoil: Spoil) -> tuple[str, Event]:
        """The state after a gap that mallory does not close; each event is asked for alone."""
        return await self._state(spoil, 1)

    async def whole_state(self, spoil: Spoil) -> tuple[str, Event]:
        """So much of it is unknown that it is asked for at once."""
        return await self._state(spoil, 45)

    async def _state(self, spoil: Spoil, unknown: int) -> tuple[str, Event]:
        room = await self.shared_room()
        eve = self.honest.user("eve")
        event = room.send(eve, TOPIC, {"topic": "honest"}, "")
        for number in range(unknown - 1):
            room.send(eve, "org.example.unknown", {}, str(number))
        self.mallory.lies["get_missing_events"] = lambda asked: {"events": []}
        self.spoil(room, event, spoil(self.mallory, event))
        await self.mallory.send(room.send(self.mallory.user("eve"), MESSAGE, {"body": "late"}).pdu)
        return room.room_id, event

    def room_of_theirs(self) -> PeerRoom:
        room = PeerRoom(self.mallory, "11", peers=[self.honest])
        self.mallory.rooms[room.room_id] = room
        room.member(self.honest.user("eve"), "join")
        room.send(room.creator, "m.room.power_levels", {"users": {room.creator: 100}, "state_default": 0}, "")
        return room

    async def send_join(self, spoil: Spoil) -> tuple[str, Event]:
        """The state that a resident server tells when we join."""
        room = self.room_of_theirs()
        event = room.send(self.honest.user("eve"), TOPIC, {"topic": "honest"}, "")
        self.spoil(room, event, spoil(self.mallory, event))
        await self.ours.services.membership.join(ALICE, room.room_id, servers=[self.mallory.name])
        return room.room_id, event

    async def backfill(self, spoil: Spoil) -> tuple[str, Event]:
        room = self.room_of_theirs()
        event = room.send(self.honest.user("eve"), MESSAGE, {"body": "honest"})
        self.spoil(room, event, spoil(self.mallory, event))
        await self.ours.services.membership.join(ALICE, room.room_id, servers=[self.mallory.name])
        return room.room_id, event


WAYS: Sequence[Callable[[Way, Spoil], Awaitable[tuple[str, Event]]]] = (
    Way.send,
    Way.missing_events,
    Way.state,
    Way.whole_state,
    Way.send_join,
    Way.backfill,
)
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


async def shown(ours: Ours, room_id: str, event: Event) -> Mapping[str, Any] | None:
    """The content of an event as our clients see it, in the timeline or in the state; None if they do not see it."""
    for one in await ours.read_back(room_id):
        if one["event_id"] == event.event_id:
            content: Mapping[str, Any] = one["content"]
            return content
    state = await ours.state(room_id)
    return next((one.content for one in state.values() if one.event_id == event.event_id), None)


@ways
async def test_attack_06_forged_content_by_every_way(
    ours: Ours, mallory: Hostile, honest: Hostile, way: Callable[[Way, Spoil], Awaitable[tuple[str, Event]]]
) -> None:
    """The event is there, under its id, and nothing of what was put into it."""
    room_id, event = await way(Way(ours, mallory, honest), forged)
    await ours.settled()
    assert await shown(ours, room_id, event) == {}
    rows = await ours.sql("SELECT client FROM events WHERE event_id = %s", event.event_id)
    assert "forged" not in rows[0][0]


@pytest.mark.parametrize("spoil", [unsigned, signed_by_another])
@ways
async def test_attack_06_unsigned_by_every_way(
    ours: Ours,
    mallory: Hostile,
    honest: Hostile,
    way: Callable[[Way, Spoil], Awaitable[tuple[str, Event]]],
    spoil: Spoil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not there at all, and the log says so; the room is usable."""
    with caplog.at_level(logging.WARNING):
        room_id, event = await way(Way(ours, mallory, honest), spoil)
        await ours.settled()
        assert await shown(ours, room_id, event) is None
    assert await ours.verdict(event.event_id) is None
    assert {one.getMessage() for one in caplog.records} <= {"refused a PDU", "dropped events of an answer"}
    assert caplog.records
    await ours.say(ALICE, room_id, "and on")


@pytest.mark.parametrize("spoil", [forged, unsigned, signed_by_another])
@pytest.mark.parametrize("kind", ["send_join", "send_leave", "send_knock", "invite"])
async def test_attack_06_memberships_that_come_spoiled(
    ours: Ours, mallory: Hostile, honest: Hostile, kind: str, spoil: Spoil
) -> None:
    """A membership must be whole and signed: 4xx, and nobody's membership changes."""
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await ours.room("11", initial_state=[rules] if kind == "send_knock" else [])
    eve = honest.user("eve")
    if kind == "invite":
        room = PeerRoom(honest, "11")
        event = honest.invite(room, room.creator, BOB)
        pdu = spoil(mallory, event)
        room_id = room.room_id
        body: Any = {"room_version": "11", "event": pdu, "invite_room_state": []}
    else:
        if kind == "send_leave":
            await honest.join(room_id)
        membership = kind.removeprefix("send_")
        template = await honest.template(room_id, eve, membership)
        event = honest.read(V11, honest.sealed(V11, template))
        body = spoil(mallory, event)
    version = "v1" if kind == "send_knock" else "v2"
    answer = await honest.ask("PUT", path(version, kind, room_id, event.event_id), body)
    assert answer.status in (400, 403), answer.body
    assert await ours.verdict(event.event_id) is None


@pytest.mark.parametrize("spoil", [forged, unsigned])
async def test_attack_06_what_an_invite_tells_of_the_room(ours: Ours, mallory: Hostile, spoil: Spoil) -> None:
    """Where it is told by signed events, only what was signed of them is shown."""
    room = PeerRoom(mallory, "12")
    name = room.send(room.creator, "m.room.name", {"name": "honest"}, "")
    invite = mallory.invite(room, room.creator, BOB)
    told = [room.events[0].pdu, spoil(mallory, name)]
    body = {"room_version": "12", "event": invite.pdu, "invite_room_state": told}
    answer = await mallory.ask("PUT", path("v2", "invite", room.room_id, invite.event_id), body)
    rows = await told_to(ours, BOB, room.room_id)
    if spoil is unsigned:
        assert (answer.status, answer.body["errcode"], rows) == (400, "M_INVALID_PARAM", [])
    else:
        assert answer.status == 200
        assert "forged" not in rows[0][0] and "m.room.name" in rows[0][0]


async def told_to(ours: Ours, user_id: str, room_id: str) -> list[tuple[str]]:
    """What a user who is outside of a room is shown of it."""
    return await ours.sql(
        "SELECT events FROM invite_states JOIN rooms ON number = room WHERE user_id = %s AND room_id = %s",
        user_id,
        room_id,
    )


@pytest.mark.parametrize("spoil", [forged, unsigned])
async def test_attack_06_what_a_knock_is_told_of_the_room(ours: Ours, mallory: Hostile, spoil: Spoil) -> None:
    """As with an invite; but the knock stands, and it is told nothing if one event is not signed."""
    room = PeerRoom(mallory, "12", join_rule="knock")
    mallory.rooms[room.room_id] = room
    name = room.send(room.creator, "m.room.name", {"name": "honest"}, "")
    mallory.lies["send_knock"] = lambda question: {"knock_room_state": [room.events[0].pdu, spoil(mallory, name)]}
    await ours.services.membership.knock(ALICE, room.room_id, servers=[mallory.name])
    assert await ours.membership(ALICE, room.room_id) == "knock"
    rows = await told_to(ours, ALICE, room.room_id)
    if spoil is unsigned:
        assert rows == []
    else:
        assert "forged" not in rows[0][0] and "m.room.name" in rows[0][0]


async def test_attack_06_a_join_without_the_create_event(ours: Ours, mallory: Hostile, honest: Hostile) -> None:
    """If what the room stands on was not signed, there is no room; nothing is shown, and an honest answer helps."""
    way = Way(ours, mallory, honest)
    room = way.room_of_theirs()
    create = room.events[0]
    way.spoil(room, create, unsigned(mallory, create))
    with pytest.raises(RemoteError):
        await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    assert room.room_id not in await ours.services.membership.joined_rooms(ALICE)
    mallory.lies.clear()
    await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
