"""The verdict on events that enter a room: checks 4, 5 and 6 on receipt."""

from dataclasses import replace
from typing import Any

import pytest

from homeserver.domain.event import Event, StateKey, StateMap
from homeserver.domain.verdict import Accepted, Context, Missing, Rejected, SoftFailed, judge
from homeserver.domain.versions import ROOM_VERSIONS
from tests.domain.room_builder import ALICE, BOB, CAROL, DAVE, Room, public_room

EVERY_VERSION = sorted(ROOM_VERSIONS, key=int)


class Lookup:
    """A state to look things up in, which counts how often it is asked."""

    def __init__(self, room: Room, state: StateMap) -> None:
        self._room, self._state = room, state
        self.asked = 0

    def __call__(self, key: StateKey) -> Event | None:
        self.asked += 1
        return self._room.events[self._state[key]] if key in self._state else None


def context(room: Room, event: Event, **others: Any) -> Context:
    """All that `event` cites and, unless given otherwise, the room's present state for both states."""
    standing = Lookup(room, room.now())
    given: dict[str, Any] = {
        "auth_events": {one: room.events[one] for one in event.auth_events},
        "rejected": room.rejected,
        "state_before": standing,
        "current_state": standing,
        "create": room.create,
        **others,
    }
    return Context(**given)


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_a_plain_message(version: str) -> None:
    """It is accepted, and a state that is given twice is asked once."""
    room = public_room(version)
    event = room.draft(CAROL, "m.room.message", {"body": "hi"})
    standing = Lookup(room, room.now())
    assert judge(event, context(room, event, state_before=standing, current_state=standing)) == Accepted()
    assert standing.asked == 3
    assert judge(event, context(room, event, state_before=None, current_state=None)) == Accepted()


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_a_create_event(version: str) -> None:
    """It needs nothing but itself."""
    room = Room(version)
    assert judge(room.create, Context({})) == Accepted()
    assert isinstance(judge(replace(room.create, prev_events=("$x",)), Context({})), Rejected)


def test_what_is_missing() -> None:
    """Cited events that are not at hand are named, and in version 12 the create event."""
    room = public_room("12")
    event = room.draft(CAROL, "m.room.message", {})
    some = {event.auth_events[0]: room.events[event.auth_events[0]]}
    create_id = room.create.event_id
    assert judge(event, Context(some)) == Missing(frozenset({*event.auth_events[1:], create_id}))
    assert judge(event, Context(some, create=room.create)) == Missing(frozenset(event.auth_events[1:]))


def test_check_4_the_auth_events() -> None:
    """What an event cites must be in order, and must allow it."""
    room = public_room()
    old_levels = room.now()[("m.room.power_levels", "")]
    room.power(ALICE, {"users": {ALICE: 100, CAROL: 60}})
    topic = room.draft(CAROL, "m.room.topic", {}, "")
    assert judge(topic, context(room, topic)) == Accepted()
    stale = replace(
        topic,
        auth_events=tuple(old_levels if "m.room.power" in room.events[one].type else one for one in topic.auth_events),
    )
    assert judge(stale, context(room, stale)) == Rejected("The sender may not send m.room.topic.")
    careless = replace(topic, auth_events=topic.auth_events[1:])
    assert "cite the create event" in why(judge(careless, context(room, careless)))


def why(verdict: object) -> str:
    assert isinstance(verdict, Rejected | SoftFailed)
    return verdict.why


@pytest.mark.parametrize("version", ["11", "12"])
def test_attack_12_a_rejected_auth_event(version: str) -> None:
    """Who cites a rejected event is rejected; if it was not rejected after all, so is not the citing one."""
    room = public_room(version)
    event = room.draft(CAROL, "m.room.message", {})
    levels = room.now()[("m.room.power_levels", "")]
    assert "was rejected" in why(judge(event, context(room, event, rejected={levels})))
    assert "was rejected" in why(judge(event, context(room, event, rejected={room.create.event_id})))
    assert judge(event, context(room, event, rejected=())) == Accepted()


def test_check_5_the_state_before() -> None:
    """An event that cites a state of long ago, but stands in one that forbids it, is rejected."""
    room = public_room()
    event = room.draft(CAROL, "m.room.message", {})
    room.member(BOB, CAROL, "ban")
    late = replace(event, prev_events=tuple(room.tips))
    assert judge(late, context(room, late)) == Rejected("The sender is not joined.")


def test_check_6_the_current_state() -> None:
    """An event that was allowed where it was sent, but not now, is soft-failed."""
    room = public_room()
    old = Lookup(room, room.now())
    event = room.draft(CAROL, "m.room.message", {})
    room.member(BOB, CAROL, "ban")
    assert judge(event, context(room, event, state_before=old)) == SoftFailed("The sender is not joined.")
    assert judge(event, context(room, event, state_before=None)) == SoftFailed("The sender is not joined.")
    assert judge(event, context(room, event, state_before=old, current_state=None)) == Accepted()


@pytest.mark.parametrize("version", ["11", "12"])
def test_another_state_that_allows_it_too(version: str) -> None:
    """What an event cites may differ from what stands, as long as both allow it."""
    room = public_room(version)
    event = room.draft(BOB, "m.room.topic", {}, "")
    room.power(ALICE, {"users": {BOB: 70} if version == "12" else {ALICE: 100, BOB: 70}})
    assert judge(event, context(room, event)) == Accepted()


def test_an_incomplete_state() -> None:
    """While members are missing from a state, those that the event cites stand in for them."""
    room = public_room()
    event = room.draft(CAROL, "m.room.message", {})
    partial = {key: one for key, one in room.now().items() if key != ("m.room.member", CAROL)}
    known = Lookup(room, partial)
    assert isinstance(judge(event, context(room, event, state_before=known, current_state=known)), Rejected)
    lenient = context(room, event, state_before=known, current_state=known, state_complete=False)
    assert judge(event, lenient) == Accepted()
    no_levels = Lookup(room, {key: one for key, one in partial.items() if key[0] != "m.room.power_levels"})
    topic = room.draft(BOB, "m.room.topic", {}, "")
    strict = context(room, topic, state_before=no_levels, state_complete=False)
    assert judge(topic, strict) == Rejected("The sender may not send m.room.topic.")


def test_a_join_that_nobody_signed_for() -> None:
    """The server of the user who vouches must have signed."""
    room = public_room()
    room.join_rule(ALICE, "restricted")
    content = {"membership": "join", "join_authorised_via_users_server": BOB}
    unsigned = room.draft(DAVE, "m.room.member", content, DAVE)
    assert "has not signed" in why(judge(unsigned, context(room, unsigned)))
    signed = room.draft(DAVE, "m.room.member", content, DAVE, signatures={"b.example": {"ed25519:1": "x"}})
    assert judge(signed, context(room, signed)) == Accepted()


def test_a_malformed_citation() -> None:
    """An event that cites a message is rejected, not an error."""
    room = public_room()
    message = room.send(CAROL, "m.room.message", {})
    event = room.draft(CAROL, "m.room.message", {})
    odd = replace(event, auth_events=(*event.auth_events, message.event_id))
    assert "does not authorise it" in why(judge(odd, context(room, odd)))
