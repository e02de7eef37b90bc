"""Who signed what: keys from memory, table, servers and notaries, and the times at which they count."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from federation.key_lookups import PAUSE_MS
from federation.threads import AT_ONCE, PIECE
from homeserver.domain.errors import RemoteRefused
from homeserver.domain.server_keys import MAX_VALIDITY_MS, read_server_keys
from homeserver.domain.versions import ROOM_VERSIONS, V4, V5, V11
from tests.builders.cluster import SERVER_NAME
from tests.builders.identity import TS, Peer, PeerRoom
from tests.builders.waiting import until
from tests.federation.conftest import Bench
from tests.federation.network import KEYS, QUERY

PEER, NOTARY = Peer("peer.example"), Peer("notary.example")
ROTATED = Peer("peer.example", "a_next")
DAY_MS = 24 * 3600 * 1000


def signed(peer: Peer = PEER) -> dict[str, Any]:
    return peer.sign_json({"a": 1})


async def is_good(bench: Bench, obj: Mapping[str, Any], at: int | None = None, server: str = PEER.name) -> bool:
    return await bench.keyring.verify_json(server, obj, bench.clock.ms if at is None else at) is None


async def test_a_key_is_fetched_once_and_kept(bench: Bench) -> None:
    """The server is asked; then memory knows, and after a restart the table."""
    bench.online(PEER)
    assert await is_good(bench, signed())
    assert await is_good(bench, signed())
    bench.restart()
    assert await is_good(bench, signed())
    assert bench.network.asked == [(PEER.name, KEYS)]


@pytest.mark.parametrize(
    "obj",
    [
        {**signed(), "a": 2},
        {"a": 1},
        {"a": 1, "signatures": None},
        {"a": 1, "signatures": {PEER.name: None}},
        {"a": 1, "signatures": {PEER.name: {PEER.key_id: 1}}},
        {"a": 1, "signatures": {PEER.name: {}}},
        {"a": 1, "signatures": {PEER.name: {PEER.key_id: "AAAA"}}},
        {"a": 1, "signatures": {PEER.name: {"ed25519:unknown": "AAAA"}}},
        signed(Peer("other.example")),
        signed(Peer("peer.example", "a_unknown")),
        {**signed(), "a": float("nan")},
    ],
)
async def test_what_is_not_signed(bench: Bench, obj: dict[str, Any]) -> None:
    """Changed, unsigned, malformed, by another server, by a key that nobody knows."""
    bench.online(PEER)
    assert not await is_good(bench, obj)


async def test_our_own_signature_needs_no_network(bench: Bench) -> None:
    """We are never asked by ourselves, not even for a key that is not ours."""
    assert await is_good(bench, signed(bench.own), server=SERVER_NAME)
    assert not await is_good(bench, signed(Peer(SERVER_NAME, "a_other")), server=SERVER_NAME)
    assert bench.network.asked == []


async def test_look_ups_of_one_server_are_one(bench: Bench) -> None:
    """Fifty who want a key at once cause one request; one of them who gives up does not end it."""
    bench.online(PEER)
    bench.network.held = asyncio.Event()
    tasks = [asyncio.create_task(is_good(bench, signed())) for _ in range(50)]
    await until(lambda: bench.network.asked)
    tasks[0].cancel()
    bench.network.held.set()
    assert all(await asyncio.gather(*tasks[1:]))
    assert len(bench.network.asked) == 1


async def test_a_server_is_not_asked_again_at_once(bench: Bench) -> None:
    """Whoever names keys that do not exist cannot make us ask in a loop; later we ask again, and find a new key."""
    bench.online(PEER)
    for _ in range(5):
        assert not await is_good(bench, signed(ROTATED))
    assert len(bench.network.asked) == 1
    bench.network.answers[PEER.name, KEYS] = ROTATED.keys(old=[PEER.old_key(TS)])
    assert not await is_good(bench, signed(ROTATED))
    bench.clock.ms += PAUSE_MS
    assert await is_good(bench, signed(ROTATED))
    assert len(bench.network.asked) == 2
    assert not await is_good(bench, signed()), "an old key signs no request"
    assert await is_good(bench, signed(), at=TS), "but what it signed when it was in use is good"


async def test_patience_ends(bench: Bench) -> None:
    """A server that does not answer in time costs its own events, and no others."""
    bench.shelf.known[NOTARY.name] = list(read_server_keys(NOTARY.name, NOTARY.keys(), TS).keys)
    bench.network.held = asyncio.Event()
    slow, known = PeerRoom(PEER, "11").events[0].pdu, PeerRoom(NOTARY, "11").events[0].pdu
    whys = await bench.keyring.verify_events(V11, [slow, known], patience=0.01)
    assert whys[0] is not None and whys[1] is None


@pytest.mark.parametrize("version", ROOM_VERSIONS)
async def test_events_of_every_version(bench: Bench, version: str) -> None:
    """A room of two servers, in a batch that goes to the threads: all good, and those that were changed are found."""
    other = Peer("other.example")
    bench.online(PEER, other)
    room = PeerRoom(PEER, version, peers=[other])
    guest = other.user("guest")
    room.member(guest, "join")
    for number in range(2 * PIECE + AT_ONCE):
        room.send(guest if number % 2 else room.creator, "m.room.message", {"body": str(number)})
    pdus = [dict(event.pdu) for event in room.events]
    pdus[7] |= {"depth": 99}
    pdus[50] |= {"content": {"body": "changed"}}
    whys = await bench.keyring.verify_events(room.version, pdus)
    assert [index for index, why in enumerate(whys) if why] == [7], "content is what the hash is for"
    assert sorted(bench.network.asked) == [(other.name, KEYS), (PEER.name, KEYS)]


async def test_a_signature_too_many_must_be_right_too(bench: Bench) -> None:
    """By an unknown key it is skipped, by a known one it counts."""
    bench.network.answers[PEER.name, KEYS] = PEER.keys(old=[ROTATED.old_key(TS + DAY_MS)])
    good = dict(PeerRoom(PEER, "11").events[0].pdu)
    by_peer = good["signatures"][PEER.name]
    policy = {**good, "signatures": {PEER.name: {**by_peer, "ed25519:policy_server": "AAAA"}}}
    wrong = {**good, "signatures": {PEER.name: {**by_peer, ROTATED.key_id: "AAAA"}}}
    bench.clock.ms += 2 * DAY_MS
    assert [why is None for why in await bench.keyring.verify_events(V11, [good, policy, wrong])] == [True, True, False]


async def test_attack_07_keys_that_do_not_count_at_the_event(bench: Bench) -> None:
    """From room version 5 on an event must not be later than its key's answer; nowhere later than a key's end."""
    bench.network.answers[PEER.name, KEYS] = PEER.keys(TS + DAY_MS, [ROTATED.old_key(TS - DAY_MS)])

    async def is_taken(version: str, peer: Peer, ts: int) -> bool:
        room = PeerRoom(peer, version)
        event = room.draft(room.creator, "m.room.message", {}, ts=ts)
        return await bench.keyring.verify_events(room.version, [event.pdu]) == [None]

    for version, enforced in ((V4.identifier, False), (V5.identifier, True), (V11.identifier, True)):
        assert await is_taken(version, PEER, TS + DAY_MS)
        assert await is_taken(version, PEER, TS + DAY_MS + 1) is not enforced
        assert await is_taken(version, ROTATED, TS - DAY_MS), "signed while the key was in use"
        assert not await is_taken(version, ROTATED, TS - DAY_MS + 1), "signed by a thief of an old key"
    bench.network.answers[PEER.name, KEYS] = PEER.keys(TS + 400 * DAY_MS)
    bench.clock.ms += PAUSE_MS
    assert not await is_taken("11", PEER, bench.clock.ms + MAX_VALIDITY_MS + 1), "whatever the server promises"


# --- notaries


def notarised(*answers: Mapping[str, Any], by: Peer = NOTARY) -> dict[str, Any]:
    return {"server_keys": [by.sign_json(answer) for answer in answers]}


async def test_a_notary_speaks_for_the_absent(bench: Bench) -> None:
    """It is asked only if the server does not answer, told until when keys should be valid, and its word is kept."""
    bodies: list[Mapping[str, Any]] = []

    def answer(body: Mapping[str, Any]) -> Any:
        bodies.append(body)
        return notarised(PEER.keys())

    bench.online(NOTARY)
    bench.network.answers[NOTARY.name, QUERY] = answer
    assert not await is_good(bench, signed()), "there is no notary unless one is set"
    bench.clock.ms += PAUSE_MS
    bench.restart([NOTARY.name])
    assert await is_good(bench, signed())
    assert bodies == [{"server_keys": {PEER.name: {PEER.key_id: {"minimum_valid_until_ts": bench.clock.ms}}}}]
    bench.restart()
    assert await is_good(bench, signed())
    assert len(bodies) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"server_keys": [PEER.keys()]},
        notarised(PEER.keys(), by=Peer("notary.example", "a_wrong")),
        notarised(PEER.keys(), by=Peer("stranger.example")),
        notarised({**PEER.keys(), "valid_until_ts": TS}),
        notarised({key: value for key, value in PEER.keys().items() if key != "signatures"}),
        notarised({**NOTARY.keys(), "server_name": PEER.name}),
        notarised(Peer("other.example").keys()),
        {"server_keys": {}},
        {"server_keys": [None, 1]},
        [],
        RemoteRefused(404, "M_UNRECOGNIZED", "no"),
    ],
    ids=["unsigned", "wrong key", "stranger", "changed", "no own", "own key", "other", "object", "odd", "list", "404"],
)
async def test_attack_28_a_notary_is_not_trusted_blindly(bench: Bench, answer: Any) -> None:
    """An answer without the notary's signature, or without the server's own, brings no key."""
    bench.online(NOTARY)
    bench.network.answers[NOTARY.name, QUERY] = answer
    bench.restart([NOTARY.name])
    assert not await is_good(bench, signed())
    assert PEER.name not in bench.shelf.known


async def test_attack_28_a_notary_replaces_no_known_key(bench: Bench) -> None:
    """A lying notary that made a key pair of its own gets it in under a new name only."""
    bench.network.answers[PEER.name, KEYS] = PEER.keys(TS + DAY_MS)
    assert await is_good(bench, signed())
    del bench.network.answers[PEER.name, KEYS]
    forged = Peer("peer.example", "a_forged")
    forged.key.version = PEER.key.version
    bench.online(NOTARY)
    bench.network.answers[NOTARY.name, QUERY] = notarised(forged.keys())
    bench.restart([NOTARY.name])
    bench.clock.ms += 2 * DAY_MS
    assert not await is_good(bench, signed(forged))
    assert await is_good(bench, signed(), at=TS)


async def test_an_answer_for_another_server_brings_nothing(bench: Bench) -> None:
    """A server that answers with somebody else's keys, or with its own under another name, has none."""
    other = Peer("other.example")
    for answer in (other.keys(), {**other.keys(), "server_name": PEER.name}, [], None):
        bench.network.answers[PEER.name, KEYS] = answer
        assert not await is_good(bench, signed())
        assert not await is_good(bench, signed(other))
        bench.clock.ms += PAUSE_MS
    assert bench.shelf.known == {}
