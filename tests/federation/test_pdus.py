"""The first three checks on received events: what is dropped, what is redacted, and what goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from federation.inbound.pdus import Checked, PduChecks, Refused
from federation.threads import PIECE
from homeserver.domain.format import MAX_EVENT_BYTES
from homeserver.domain.hashing import add_content_hash
from homeserver.domain.redaction import redact
from homeserver.domain.versions import ROOM_VERSIONS, V1, V8, V11, V12, RoomVersion
from tests.builders.identity import Peer, PeerRoom
from tests.federation.conftest import Bench

PEER, OTHER = Peer("peer.example"), Peer("other.example")

versions = pytest.mark.parametrize("version", ROOM_VERSIONS)


async def check(bench: Bench, version: RoomVersion, *pdus: object, **options: Any) -> list[Checked | Refused]:
    """As a server that can reach both peers."""
    bench.online(PEER, OTHER)
    return await PduChecks(bench.keyring, bench.threads).check(version, pdus, **options)


def ids(verdicts: Sequence[Checked | Refused]) -> list[str | None]:
    return [one.event.event_id if isinstance(one, Checked) else one.event_id for one in verdicts]


def is_taken(verdicts: Sequence[Checked | Refused]) -> list[bool]:
    return [isinstance(one, Checked) for one in verdicts]


@versions
async def test_a_room_of_every_version(bench: Bench, version: str) -> None:
    """What an honest server made comes out as it made it, in order, also in a batch for the threads."""
    room = PeerRoom(PEER, version, peers=[OTHER])
    room.member(OTHER.user("guest"), "join")
    for number in range(PIECE):
        room.send(OTHER.user("guest"), "m.room.message", {"body": str(number)})
    pdus = [{**event.pdu, "unsigned": {"age": 1}} for event in room.events]
    verdicts = await check(bench, room.version, *pdus, room_id=room.room_id)
    assert verdicts == [Checked(event) for event in room.events]
    assert await check(bench, room.version, room.events[-1].pdu) == [Checked(room.events[-1])]


@versions
async def test_attack_06_wrong_content_hash(bench: Bench, version: str) -> None:
    """The redacted form is used, under the same id, and nothing of what was changed."""
    room = PeerRoom(PEER, version)
    event = room.send(room.creator, "m.room.message", {"body": "honest", "msgtype": "m.text"})
    forged = {**event.pdu, "content": {"body": "forged"}, "more": 1}
    unhashed = PEER.signed(room.version, {**event.pdu, "hashes": {"sha256": "!"}, "signatures": {}})
    (changed, nonsense) = await check(bench, room.version, forged, unhashed)
    assert isinstance(changed, Checked) and changed.redacted
    assert changed.event.event_id == event.event_id
    assert changed.event.pdu == redact(room.version, event.pdu)
    assert "forged" not in str(changed.event.pdu)
    assert isinstance(nonsense, Checked) and nonsense.redacted and nonsense.event.content == {}


def unsigned(event: Mapping[str, Any]) -> dict[str, Any]:
    return {**event, "signatures": {}}


@versions
async def test_attack_06_wrong_or_missing_signatures(bench: Bench, version: str) -> None:
    """Without a right signature of the sender's server an event is dropped, whoever else signed it."""
    room = PeerRoom(PEER, version, peers=[OTHER])
    event = room.send(room.creator, "m.room.message", {"body": "hello"})
    by_other = OTHER.signed(room.version, unsigned(event.pdu))
    as_other = {**by_other, "signatures": {PEER.name: by_other["signatures"][OTHER.name]}}
    impostor = Peer(PEER.name, "a_impostor").signed(room.version, unsigned(event.pdu))
    renamed = {
        **impostor,
        "signatures": {PEER.name: {PEER.key_id: impostor["signatures"][PEER.name]["ed25519:a_impostor"]}},
    }
    lies = [
        unsigned(event.pdu),
        by_other,
        as_other,
        impostor,
        renamed,
        {**event.pdu, "signatures": {PEER.name: {PEER.key_id: "AAAA"}}},
        {**event.pdu, "signatures": {PEER.name: {}}},
        {**event.pdu, "depth": 99},
        {**event.pdu, "sender": OTHER.user("eve")},
    ]
    verdicts = await check(bench, room.version, *lies, event.pdu)
    assert is_taken(verdicts) == [False] * len(lies) + [True]
    assert set(ids(verdicts[:6])) == {event.event_id}, "the answer to a transaction names what was dropped"


async def test_attack_06_the_server_of_the_event_id(bench: Bench) -> None:
    """Where ids are chosen, nobody chooses one in another server's name."""
    room = PeerRoom(PEER, "1", peers=[OTHER])
    event = room.draft(room.creator, "m.room.message", {})
    stolen = PEER.sealed(V1, {**event.pdu, "event_id": f"$stolen:{OTHER.name}"})
    both = OTHER.signed(V1, stolen)
    assert is_taken(await check(bench, V1, stolen, both)) == [False, True]


@pytest.mark.parametrize(("version", "required"), [(V8, True), (V11, True), (V1, False)])
async def test_attack_06_who_vouches_for_a_restricted_join(bench: Bench, version: RoomVersion, required: bool) -> None:
    """Where restricted joins exist, the server that is said to have authorised one must have signed it."""
    room = PeerRoom(PEER, version.identifier, peers=[OTHER])
    content = {"membership": "join", "join_authorised_via_users_server": room.creator}
    guest = OTHER.user("guest")
    alone = room.draft(guest, "m.room.member", content, guest, auth=[]).pdu
    nobody = OTHER.sealed(version, {**alone, "content": {**content, "join_authorised_via_users_server": "nobody"}})
    verdicts = await check(bench, version, alone, PEER.signed(version, alone), nobody)
    assert is_taken(verdicts) == [not required, True, not required]


async def test_a_third_party_invite_needs_no_signature_of_its_sender(bench: Bench) -> None:
    """Another server may send it: what proves it is inside."""
    room = PeerRoom(PEER, "11")
    content = {"membership": "invite", "third_party_invite": {"display_name": "x", "signed": {"token": "t"}}}
    event = room.draft(room.creator, "m.room.member", content, OTHER.user("guest"), auth=[]).pdu
    assert is_taken(await check(bench, V11, OTHER.signed(V11, unsigned(event)))) == [True]
    unproven = add_content_hash({**event, "content": {"membership": "invite", "third_party_invite": {}}})
    assert is_taken(await check(bench, V11, OTHER.signed(V11, unsigned(unproven)))) == [False]


async def is_dropped_alone(bench: Bench, members: dict[str, Any]) -> bool:
    """Whether an event with these members is dropped, signed as it may be, and its neighbours are not."""
    room = PeerRoom(PEER, "11")
    event = room.draft(room.creator, "m.room.message", {"body": "hello"})
    lie: dict[str, Any] = {**event.pdu, **members}
    if members.keys().isdisjoint(("hashes", "signatures")) and isinstance(lie["content"], dict):
        lie = PEER.sealed(V11, lie)
    return is_taken(await check(bench, V11, event.pdu, lie, event.pdu)) == [True, False, True]


@pytest.mark.parametrize(
    "members",
    [
        {"content": {"x": "x" * MAX_EVENT_BYTES}},
        {"type": "x" * 256},
        {"state_key": "é" * 128},
        {"sender": "@" + "x" * 250 + ":peer.example"},
    ],
    ids=["event", "type", "state_key", "sender"],
)
async def test_attack_05_too_large_or_too_long(bench: Bench, members: dict[str, Any]) -> None:
    """An event of more than 64 KiB, or with an identifier of more than 255 bytes, comes in on no way."""
    assert await is_dropped_alone(bench, members)


@pytest.mark.parametrize("members", [{"prev_events": ["$x"] * 21}, {"auth_events": ["$x"] * 11}], ids=["prev", "auth"])
async def test_attack_05_too_many_references(bench: Bench, members: dict[str, Any]) -> None:
    """Nor does one that follows or cites too many."""
    assert await is_dropped_alone(bench, members)


@pytest.mark.parametrize(
    "members",
    [
        {"depth": 2**53},
        {"depth": -1},
        {"content": {"number": 1.5}},
        {"content": {"number": 2**53}},
        {"content": []},
        {"unsigned": 1},
        {"hashes": {}},
        {"signatures": {"peer.example": None}},
        {"origin_server_ts": "now"},
    ],
)
async def test_what_is_no_event_is_dropped_alone(bench: Bench, members: dict[str, Any]) -> None:
    """Of the wrong shape: dropped with a reason, and its neighbours are not."""
    assert await is_dropped_alone(bench, members)


@pytest.mark.parametrize("pdu", [None, 1, "x", [], {}, {"event_id": "$x"}, {"content": {}}, {"type": "m.room.create"}])
@pytest.mark.parametrize("version", [V1, V11, V12])
async def test_what_is_not_even_an_object(bench: Bench, version: RoomVersion, pdu: object) -> None:
    """Nothing that others may send raises."""
    assert is_taken(await check(bench, version, pdu)) == [False]


async def test_malformed_events_keep_their_names(bench: Bench) -> None:
    """A number that canonical JSON does not have makes an event malformed; its sender still knows it by its hash."""
    room = PeerRoom(PEER, "5")
    event = room.draft(room.creator, "m.room.message", {"number": 1.5})
    (verdict,) = await check(bench, V11, event.pdu)
    assert verdict == Refused(event.event_id, "A number is not an integer")
    old = {**PeerRoom(PEER, "1").events[0].pdu, "depth": "1"}
    assert ids(await check(bench, V1, old)) == [old["event_id"]]


@versions
async def test_events_of_another_room(bench: Bench, version: str) -> None:
    """Whoever asks for one room is given that room's events, and no others; create events of version 12 too."""
    room, elsewhere = PeerRoom(PEER, version), PeerRoom(OTHER, version)
    pdus = [room.events[0].pdu, elsewhere.events[0].pdu, elsewhere.events[1].pdu]
    assert is_taken(await check(bench, room.version, *pdus, room_id=room.room_id)) == [True, False, False]


async def test_a_server_whose_keys_cannot_be_had(bench: Bench) -> None:
    """Its events are dropped, and the others' are not."""
    gone = Peer("gone.example")
    pdus = [PeerRoom(gone, "11").events[0].pdu, PeerRoom(PEER, "11").events[0].pdu]
    assert is_taken(await check(bench, V11, *pdus)) == [False, True]
