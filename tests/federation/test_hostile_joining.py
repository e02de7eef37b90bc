"""A hostile server at the doors of rooms: it enters ours by another's event, and leads us into its own by lies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from homeserver.domain.canonical import MAX_INTEGER
from homeserver.domain.errors import ParleyError, RemoteError
from tests.builders.identity import KnownRoom, PeerRoom
from tests.builders.peer import Reply
from tests.federation.hostile import MEMBER, Hostile, Question, path
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE, BOB

pytestmark = pytest.mark.asyncio(loop_scope="module")

KNOCKING = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
# What an event may say instead of what its path says.
OTHER: Mapping[str, Callable[[Hostile, dict[str, Any]], dict[str, Any]]] = {
    "room": lambda mallory, pdu: {**pdu, "room_id": "!other:test.example"},
    "type": lambda mallory, pdu: {**pdu, "type": "m.room.message"},
    "message": lambda mallory, pdu: {key: value for key, value in pdu.items() if key != "state_key"},
    "membership": lambda mallory, pdu: {**pdu, "content": {"membership": "ban"}},
    "no membership": lambda mallory, pdu: {**pdu, "content": {}},
    "sender": lambda mallory, pdu: {**pdu, "sender": mallory.user("frank")},
    "our sender": lambda mallory, pdu: {**pdu, "sender": ALICE},
    "state key": lambda mallory, pdu: {**pdu, "state_key": mallory.user("frank")},
    "our member": lambda mallory, pdu: {**pdu, "state_key": ALICE},
    "no user": lambda mallory, pdu: {**pdu, "state_key": "nobody"},
}


@pytest.mark.parametrize("other", [*OTHER, "event id"])
@pytest.mark.parametrize("membership", ["join", "leave", "knock"])
async def test_attack_08_another_event_than_the_path_says(
    ours: Ours, mallory: Hostile, membership: str, other: str
) -> None:
    """It is refused with 400, and nothing of it is in the room."""
    room_id = await ours.room("11", initial_state=[KNOCKING] if membership == "knock" else [])
    eve = mallory.user("eve")
    if membership == "leave":
        await mallory.join(room_id)
    known = KnownRoom(mallory, (await ours.replay(room_id)).version, room_id)
    template = await mallory.template(room_id, eve, membership)
    event = mallory.read(known.version, mallory.sealed(known.version, OTHER.get(other, same)(mallory, template)))
    named = "$" + "0" * 43 if other == "event id" else event.event_id
    before = await ours.membership(eve, room_id)
    version = "v1" if membership == "knock" else "v2"
    answer = await mallory.ask("PUT", path(version, f"send_{membership}", room_id, named), event.pdu)
    assert answer.status == 400, answer.body
    assert await ours.verdict(event.event_id) is None
    assert await ours.membership(eve, room_id) == before
    assert await ours.membership(ALICE, room_id) == "join"


def same(mallory: Hostile, pdu: dict[str, Any]) -> dict[str, Any]:
    return pdu


@pytest.mark.parametrize("other", ["room", "type", "message", "membership", "our sender", "no user", "event id"])
@pytest.mark.parametrize("version", ["11", "12"])
async def test_attack_08_an_invite_of_something_else(ours: Ours, mallory: Hostile, version: str, other: str) -> None:
    """400, and our user hears of nothing."""
    room = PeerRoom(mallory, version)
    pdu = room.draft(room.creator, MEMBER, {"membership": "invite"}, BOB).pdu
    event = mallory.read(room.version, mallory.sealed(room.version, OTHER.get(other, same)(mallory, dict(pdu))))
    named = "$" + "0" * 43 if other == "event id" else event.event_id
    body = {"room_version": version, "event": event.pdu, "invite_room_state": [room.events[0].pdu]}
    answer = await mallory.ask("PUT", path("v2", "invite", room.room_id, named), body)
    assert answer.status == 400, answer.body
    assert await ours.verdict(event.event_id) is None


async def test_attack_08_an_invite_of_another_server(ours: Ours, mallory: Hostile, honest: Hostile) -> None:
    """Mallory cannot pass on what another server has signed, as an invite of its own."""
    room = PeerRoom(honest, "11")
    event = honest.invite(room, room.creator, BOB)
    body = {"room_version": "11", "event": event.pdu, "invite_room_state": []}
    assert (await mallory.ask("PUT", path("v2", "invite", room.room_id, event.event_id), body)).status == 400
    assert await ours.verdict(event.event_id) is None


@pytest.mark.parametrize("left", [False, True])
async def test_attack_01_an_invite_by_the_rules_of_another_version(ours: Ours, mallory: Hostile, left: bool) -> None:
    """An invite into a room that we know is read by that room's rules: a depth that is none there does not come in as
    an event of an older version, which had it."""
    room = await mallory.join(await ours.room("11"))
    if left:
        await ours.services.membership.leave(ALICE, room.room_id)
    old = PeerRoom(mallory, "5").version
    pdu = room.draft(mallory.user("eve"), MEMBER, {"membership": "invite"}, BOB).pdu
    event = mallory.read(old, mallory.sealed(old, {**pdu, "depth": 2**60}))
    body = {"room_version": "5", "event": event.pdu, "invite_room_state": []}
    answer = await mallory.ask("PUT", path("v2", "invite", room.room_id, event.event_id), body)
    assert answer.status == 400, answer.body
    assert await ours.verdict(event.event_id) is None
    if not left:
        mine = await ours.say(ALICE, room.room_id)
        assert (await ours.event(room.room_id, mine)).depth < 100


async def test_nonsense_in_memberships_is_told_as_such(ours: Ours, mallory: Hostile) -> None:
    """Whatever stands where an id should stand: a 4xx."""
    room_id = await ours.room("6")
    eve = mallory.user("eve")
    template = await mallory.template(room_id, eve)
    version = (await ours.replay(room_id)).version
    odd: list[dict[str, Any]] = [
        {"content": {"membership": "join", "join_authorised_via_users_server": "nobody"}},
        {"content": {"membership": ["join"]}},
        {"content": "join"},
        {"prev_events": ["$unknown"]},
        {"auth_events": ["$unknown"]},
        {"prev_events": []},
        {"prev_events": [f"${number}" for number in range(21)]},
        {"depth": -1},
        {"room_id": 7},
        {"sender": None},
        {"state_key": [eve]},
    ]
    for changes in odd:
        pdu = {**template, **changes}
        pdu = mallory.sealed(version, pdu) if isinstance(pdu["content"], dict) else pdu
        for endpoint in ("send_join", "send_leave"):
            answer = await mallory.ask("PUT", path("v2", endpoint, room_id, "$x"), pdu)
            assert 400 <= answer.status < 500, (changes, answer.body)
    for body in ({}, {"room_version": 7}, {"room_version": "11"}, {"room_version": "11", "event": []}):
        assert (await mallory.ask("PUT", path("v2", "invite", room_id, "$x"), body)).status == 400
    assert (await mallory.ask("PUT", path("v1", "invite", room_id, "$x"), {"unsigned": {"a": 1}})).status == 400


# --- we come to it ----------------------------------------------------------------------------------------------------


def theirs(mallory: Hostile, version: str = "11", join_rule: str = "public") -> PeerRoom:
    room = PeerRoom(mallory, version, join_rule=join_rule)
    mallory.rooms[room.room_id] = room
    return room


TEMPLATES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "type": lambda event: {**event, "type": "m.room.power_levels"},
    "room": lambda event: {**event, "room_id": "!other:test.example"},
    "sender": lambda event: {**event, "sender": BOB},
    "state key": lambda event: {**event, "state_key": BOB},
    "no state key": lambda event: {key: value for key, value in event.items() if key != "state_key"},
    "membership": lambda event: {**event, "content": {"membership": "ban"}},
    "no content": lambda event: {key: value for key, value in event.items() if key != "content"},
}


@pytest.mark.parametrize("changed", TEMPLATES)
@pytest.mark.parametrize("membership", ["join", "knock", "leave"])
async def test_attack_09_a_template_of_something_else(
    ours: Ours, mallory: Hostile, membership: str, changed: str
) -> None:
    """We sign nothing that we did not ask for: it is not even called again."""
    room = theirs(mallory, join_rule="knock")

    def lie(question: Question) -> Any:
        truth = mallory.truth(question)
        return truth | {"event": TEMPLATES[changed](truth["event"])}

    mallory.lies[f"make_{membership}"] = lie
    members = ours.services.membership
    if membership == "leave":
        event = mallory.invite(room, room.creator, ALICE)
        body = {"room_version": "11", "event": event.pdu, "invite_room_state": []}
        assert (await mallory.ask("PUT", path("v2", "invite", room.room_id, event.event_id), body)).status == 200
        await members.leave(ALICE, room.room_id)
        assert await ours.membership(ALICE, room.room_id) == "leave", "rid of it all the same"
    else:
        with pytest.raises(ParleyError):
            if membership == "join":
                await members.join(ALICE, room.room_id, servers=[mallory.name])
            else:
                await members.knock(ALICE, room.room_id, servers=[mallory.name])
    assert mallory.asked[f"make_{membership}"] == 1
    assert mallory.asked[f"send_{membership}"] == 0


@pytest.mark.parametrize("depth", [2**53, 2**63 - 1, 2**70])
async def test_attack_01_a_template_that_is_too_deep(ours: Ours, mallory: Hostile, depth: int) -> None:
    """What we sign of it is as deep as an event can be, and no deeper."""
    room = theirs(mallory)
    signed: list[int] = []

    def template(question: Question) -> Any:
        truth = mallory.truth(question)
        return truth | {"event": truth["event"] | {"depth": depth}}

    def entry(question: Question) -> Any:
        signed.append(question.body["depth"])
        return mallory.truth(question)

    mallory.lies |= {"make_join": template, "send_join": entry}
    await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    mine = await ours.say(ALICE, room.room_id)
    assert signed == [MAX_INTEGER]
    assert (await ours.event_row(mine)).depth == MAX_INTEGER


Answer = dict[str, Any]


def of_another_room(key: str) -> Callable[[Hostile, KnownRoom, Answer], Answer]:
    def lie(mallory: Hostile, room: KnownRoom, answer: Answer) -> Answer:
        pdu = {**room.draft(room.events[0].sender, "m.room.topic", {"topic": "x"}, "").pdu, "room_id": "!b:c.example"}
        return answer | {key: [*answer[key], mallory.sealed(room.version, pdu)]}

    return lie


def rejected_authority(mallory: Hostile, room: KnownRoom, answer: Answer) -> Answer:
    """The join rules that would let us in were set by nobody with power, and stand in the state."""
    nobody = mallory.user("nobody")
    auth = [room.state["m.room.create", ""], room.state["m.room.power_levels", ""]]
    rules = room.draft(nobody, "m.room.join_rules", {"join_rule": "public"}, "", auth=auth)
    state = [pdu for pdu in answer["state"] if pdu["type"] != "m.room.join_rules"]
    return answer | {"state": [*state, rules.pdu], "auth_chain": [*answer["auth_chain"], rules.pdu]}


def without(kind: str, *keys: str) -> Callable[[Hostile, KnownRoom, Answer], Answer]:
    def lie(mallory: Hostile, room: KnownRoom, answer: Answer) -> Answer:
        return answer | {key: [pdu for pdu in answer[key] if pdu["type"] != kind] for key in keys}

    return lie


def another_version(mallory: Hostile, room: KnownRoom, answer: Answer) -> Answer:
    """A whole room, of another version than the template said."""
    create = room.events[0].pdu
    lie = mallory.sealed(room.version, {**create, "content": {**create["content"], "room_version": "6"}})
    return answer | {key: [lie, *answer[key][1:]] for key in ("state", "auth_chain")}


def two_at_a_place(mallory: Hostile, room: KnownRoom, answer: Answer) -> Answer:
    rules = room.draft(room.events[0].sender, "m.room.join_rules", {"join_rule": "invite"}, "")
    return answer | {"state": [*answer["state"], rules.pdu]}


def a_message(mallory: Hostile, room: KnownRoom, answer: Answer) -> Answer:
    return answer | {"state": [*answer["state"], room.draft(room.events[0].sender, "m.room.message", {}).pdu]}


ANSWERS: Mapping[str, Callable[[Hostile, KnownRoom, Answer], Any]] = {
    "state of another room": of_another_room("state"),
    "authority of another room": of_another_room("auth_chain"),
    "rejected authority": rejected_authority,
    "no create": without("m.room.create", "state"),
    "no create at all": without("m.room.create", "state", "auth_chain"),
    "no authority": without("m.room.power_levels", "state", "auth_chain"),
    "no rules": without("m.room.join_rules", "state"),
    "another version": another_version,
    "two at a place": two_at_a_place,
    "a message": a_message,
    "nothing": lambda mallory, room, answer: {"state": [], "auth_chain": []},
    "no lists": lambda mallory, room, answer: {"state": {}, "auth_chain": 7},
    "null": lambda mallory, room, answer: None,
    "garbage": lambda mallory, room, answer: {"state": [None, 7, "x", []], "auth_chain": [{}]},
    "no json": lambda mallory, room, answer: Reply(200, b"<html>"),
    "an error": lambda mallory, room, answer: Reply(500, {}),
}


@pytest.mark.parametrize("lie", ANSWERS)
async def test_attack_10_an_answer_that_is_no_room(ours: Ours, mallory: Hostile, lie: str) -> None:
    """The join fails, nothing is shown, and the true answer of the same server is taken afterwards."""
    room = theirs(mallory, join_rule="invite" if lie == "rejected authority" else "public")
    events = list(room.events)

    def answer(question: Question) -> Any:
        truth = mallory.truth(question)
        room.events.pop()
        del room.state[MEMBER, ALICE]
        return ANSWERS[lie](mallory, room, truth)

    if lie == "rejected authority":
        mallory.lies["make_join"] = lambda question: forged_template(mallory, room, question)
    mallory.lies["send_join"] = answer
    members = ours.services.membership
    with pytest.raises(RemoteError):
        await members.join(ALICE, room.room_id, servers=[mallory.name])
    assert room.room_id not in await members.joined_rooms(ALICE)
    assert await ours.services.remote.events.version(room.room_id) is None
    assert ours.event_items(room.room_id) == []
    assert room.events == events
    if lie == "rejected authority":
        room.member(ALICE, "invite", sender=room.creator)
    mallory.lies.clear()
    await members.join(ALICE, room.room_id, servers=[mallory.name])
    assert {one.event_id for one in (await ours.state(room.room_id)).values()} == {
        one.event_id for one in room.state.values()
    }


def forged_template(mallory: Hostile, room: KnownRoom, question: Question) -> Any:
    """A template that cites the join rules of nobody."""
    truth = mallory.truth(question)
    nobody = mallory.user("nobody")
    auth = [room.state["m.room.create", ""], room.state["m.room.power_levels", ""]]
    rules = room.draft(nobody, "m.room.join_rules", {"join_rule": "public"}, "", auth=auth)
    return truth | {"event": truth["event"] | {"auth_events": [*(one.event_id for one in auth), rules.event_id]}}


async def test_attack_10_a_version_that_is_not_the_rooms(ours: Ours, mallory: Hostile) -> None:
    """A room is judged by the rules of its own version, whatever a template says: else the join fails."""
    room = theirs(mallory, "9")
    mallory.lies["make_join"] = lambda question: mallory.truth(question) | {"room_version": "10"}
    members = ours.services.membership
    with pytest.raises(RemoteError):
        await members.join(ALICE, room.room_id, servers=[mallory.name])
    assert ours.event_items(room.room_id) == []
    mallory.lies.clear()
    del room.state[MEMBER, ALICE], room.events[-1]
    await members.join(ALICE, room.room_id, servers=[mallory.name])
    assert (await ours.row(room.room_id)).version == "9"


async def test_attack_10_a_join_that_was_changed_when_it_was_co_signed(ours: Ours, mallory: Hostile) -> None:
    """Where another server vouches for us, our own join comes back, or we do not come in."""
    room = PeerRoom(mallory, "11", join_rule="public")
    room.send(room.creator, "m.room.join_rules", {"join_rule": "restricted", "allow": []}, "")
    mallory.rooms[room.room_id] = room
    authorised = {"membership": "join", "join_authorised_via_users_server": room.creator}

    def template(question: Question) -> Any:
        truth = mallory.truth(question)
        cited = [room.state[MEMBER, room.creator].event_id, *truth["event"]["auth_events"]]
        return truth | {"event": truth["event"] | {"content": authorised, "auth_events": cited}}

    changes: Sequence[Callable[[Mapping[str, Any]], Any]] = (
        lambda join: mallory.signed(room.version, {**join, "content": {**join["content"], "displayname": "Fool"}}),
        lambda join: mallory.signed(room.version, {**join, "depth": 99}),
        lambda join: join,
        lambda join: room.events[1].pdu,
        lambda join: None,
    )
    members = ours.services.membership
    for change in changes:

        def entry(question: Question, change: Callable[[Mapping[str, Any]], Any] = change) -> Any:
            truth = mallory.truth(question)
            room.events.pop()
            del room.state[MEMBER, ALICE]
            return truth | {"event": change(question.body)}

        mallory.lies |= {"make_join": template, "send_join": entry}
        with pytest.raises(RemoteError):
            await members.join(ALICE, room.room_id, servers=[mallory.name])
        assert room.room_id not in await members.joined_rooms(ALICE)
    mallory.lies["send_join"] = lambda question: (
        mallory.truth(question) | {"event": mallory.signed(room.version, question.body)}
    )
    await members.join(ALICE, room.room_id, servers=[mallory.name])
    assert room.room_id in await members.joined_rooms(ALICE)
