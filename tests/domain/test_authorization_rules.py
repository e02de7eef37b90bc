"""The authorization rules that concern all events, the auth events, and redactions."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from homeserver.domain.authorization.rules import authorize, authorize_redaction_applies, check_auth_events
from homeserver.domain.event import Event
from homeserver.domain.power import PowerLevels
from homeserver.domain.versions import ROOM_VERSIONS
from tests.domain.room_builder import ALICE, BOB, CAROL, DAVE, Room, public_room

EVERY_VERSION = sorted(ROOM_VERSIONS, key=int)


def why(
    room: Room, sender: str, event_type: str, content: dict[str, Any] | None = None, *args: Any, **more: Any
) -> str | None:
    return authorize(room.draft(sender, event_type, content or {}, *args, **more), room.standing)


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_an_ordinary_room(version: str) -> None:
    """In every version members talk, moderators set the topic, and strangers do nothing."""
    room = public_room(version)
    assert why(room, CAROL, "m.room.message", {"body": "hi"}) is None
    assert why(room, BOB, "m.room.topic", {"topic": "x"}, "") is None
    assert why(room, CAROL, "m.room.topic", {"topic": "x"}, "") == "The sender may not send m.room.topic."
    assert why(room, DAVE, "m.room.message", {"body": "hi"}) == "The sender is not joined."
    room.member(BOB, CAROL, "ban")
    assert why(room, CAROL, "m.room.message", {"body": "hi"}) == "The sender is not joined."


def test_without_a_create_event() -> None:
    """Nothing is allowed in a room that was never made; the create event may be given instead of looked up."""
    room = public_room()
    event = room.draft(ALICE, "m.room.message", {})
    assert authorize(event, lambda key: None) == "The room has no create event."
    known = {key: room.standing(key) for key in (("m.room.member", ALICE), ("m.room.power_levels", ""))}
    assert authorize(event, known.get, room.create) is None


def test_the_room_id_names_the_create_event() -> None:
    """In version 12 an event belongs to the create event whose hash is its room id."""
    room = public_room("12")
    stranger = replace(room.draft(ALICE, "m.room.message", {}), room_id="!other")
    assert authorize(stranger, room.standing) == "The room id does not name the room's create event."


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_rooms_that_do_not_federate(version: str) -> None:
    """Only events from the creator's server are taken, if the create event says false and nothing else."""
    room = Room(version, create_content={"m.federate": False})
    room.join_rule(ALICE, "public")
    assert why(room, BOB, "m.room.member", {"membership": "join"}, BOB) is not None
    assert why(room, "@anna:a.example", "m.room.member", {"membership": "join"}, "@anna:a.example") is None
    open_room = Room(version, create_content={"m.federate": 0})
    open_room.join_rule(ALICE, "public")
    assert why(open_room, BOB, "m.room.member", {"membership": "join"}, BOB) is None


def test_aliases() -> None:
    """Until version 5 each server announces its own aliases, joined or not; since then they are like any state."""
    room = public_room("5")
    assert why(room, DAVE, "m.room.aliases", {}, "d.example") is None
    assert why(room, DAVE, "m.room.aliases", {}, "a.example") == "The aliases of a server can only be set from there."
    assert why(room, DAVE, "m.room.aliases", {}) == "An aliases event needs a state key."
    assert why(public_room("6"), DAVE, "m.room.aliases", {}, "d.example") == "The sender is not joined."
    assert why(public_room("6"), BOB, "m.room.aliases", {}, "b.example") is None


def test_third_party_invites_ask_for_the_invite_level() -> None:
    """Not for the level of a state event."""
    room = public_room()
    assert why(room, CAROL, "m.room.third_party_invite", {}, "token") is None
    room.power(ALICE, {"users": {ALICE: 100}, "invite": 10})
    assert why(room, CAROL, "m.room.third_party_invite", {}, "token") == "The sender may not invite."


def test_state_keys_that_are_user_ids() -> None:
    """State about a user is sent by that user, whatever the sender's power."""
    room = public_room()
    room.power(ALICE, {"users": {ALICE: 100}, "state_default": 0})
    assert why(room, CAROL, "org.example.status", {}, CAROL) is None
    assert why(room, ALICE, "org.example.status", {}, CAROL) == "The state key belongs to another user."
    assert why(room, CAROL, "org.example.status", {}, "x" + CAROL) is None


@pytest.mark.parametrize("version", ["1", "2"])
def test_redactions_of_the_oldest_rooms(version: str) -> None:
    """A redaction needs the level, or an event of the same server."""
    room = public_room(version)
    message = room.send(CAROL, "m.room.message", {})
    assert why(room, CAROL, "m.room.redaction", redacts=message.event_id) is None
    assert why(room, BOB, "m.room.redaction", redacts=message.event_id) is None
    room.power(ALICE, {"users": {ALICE: 100}})
    assert why(room, BOB, "m.room.redaction", redacts=message.event_id) is not None
    assert why(room, BOB, "m.room.redaction") is not None
    assert why(public_room("3"), CAROL, "m.room.redaction", redacts="$x") is None


def applies(room: Room, redaction: Event, redacted: Event) -> bool:
    power = PowerLevels(room.version, room.create, room.standing(("m.room.power_levels", "")))
    return authorize_redaction_applies(room.version, redaction, redacted, power)


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_redactions_that_take_effect(version: str) -> None:
    """Moderators redact all, servers redact their own, and nothing is redacted that was not named."""
    room = public_room(version)
    message, other = room.send(CAROL, "m.room.message", {}), room.send(ALICE, "m.room.message", {})

    def redaction(sender: str, target: Event) -> Event:
        place = {"content": {"redacts": target.event_id}} if room.version.redacts_in_content else {}
        return room.draft(sender, "m.room.redaction", place.get("content", {}), redacts=target.event_id)

    assert applies(room, redaction(BOB, message), message)
    assert applies(room, redaction("@cora:c.example", message), message)
    assert not applies(room, redaction(BOB, other), message)
    assert not applies(room, redaction(BOB, message), replace(message, room_id="!other:a.example"))
    if not room.version.redaction_rule:
        assert not applies(room, redaction(DAVE, message), message)


class Cited:
    """A message of Carol's and what it cites, to be spoilt."""

    def __init__(self, version: str) -> None:
        self.room = public_room(version)

    def why(self, *extra: str, without: str | None = None, rejected: Collection[str] = ()) -> str | None:
        event = self.room.draft(CAROL, "m.room.message", {})
        cited = [one for one in event.auth_events if one != without] + list(extra)
        return check_auth_events(replace(event, auth_events=tuple(cited)), self.room.events, rejected)

    def id(self, event_type: str, state_key: str = "") -> str:
        return self.room.now()[(event_type, state_key)]


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_what_an_event_cites(version: str) -> None:
    """Each selected event at most once, nothing else, nothing rejected."""
    cited = Cited(version)
    levels = cited.id("m.room.power_levels")
    assert cited.why() is None
    assert cited.why(without=levels) is None
    assert "two events of the same key" in (cited.why(levels) or "")
    assert "does not authorise it" in (cited.why(cited.id("m.room.join_rules")) or "")
    assert "was rejected" in (cited.why(rejected={levels}) or "")
    message = cited.room.send(CAROL, "m.room.message", {})
    assert "does not authorise it" in (cited.why(message.event_id) or "")


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_citing_the_create_event(version: str) -> None:
    """It must be cited before version 12, and must not be since."""
    cited = Cited(version)
    create = cited.room.create.event_id
    if version == "12":
        assert "does not authorise it" in (cited.why(create) or "")
    else:
        assert cited.why(without=create) == "The event does not cite the create event of the room."


def test_attack_11_auth_events_of_another_room() -> None:
    """An auth event of another room is no argument."""
    cited = Cited("11")
    levels = cited.id("m.room.power_levels")
    cited.room.events[levels] = replace(cited.room.events[levels], room_id="!other:a.example")
    assert "another room" in (cited.why() or "")
