"""What this server says of keys: its own, and as a notary those of others."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from config.settings import FederationSettings
from federation.key_lookups import PAUSE_MS
from federation.own_keys import RENEWAL_MS, VALIDITY_MS
from homeserver.domain.server_keys import read_server_keys
from homeserver.domain.signing import generate_key, verify_json
from tests.builders.cluster import SERVER_NAME
from tests.builders.house import TestHouse
from tests.builders.identity import TS, Peer
from tests.federation.front import Front, serve
from tests.federation.network import KEYS, QUERY, Network

PEER, OTHER, OLD = Peer("peer.example"), Peer("other.example"), Peer(SERVER_NAME, "a_old")
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
async def front(next_house: TestHouse) -> AsyncIterator[Front]:
    async with serve(
        next_house, Network(), settings=FederationSettings(old_signing_keys=(OLD.old_key(TS - DAY_MS),))
    ) as opened:
        yield opened


async def query(front: Front, *names: str, until: int | None = None) -> dict[str, Any]:
    """By server name."""
    criteria = {} if until is None else {"ed25519:any": {"minimum_valid_until_ts": until}}
    answer = await front.ask(None, "POST", QUERY, {"server_keys": dict.fromkeys(names, criteria)})
    assert answer.status == 200
    found = {one["server_name"]: one for one in answer.body["server_keys"]}
    assert len(found) == len(answer.body["server_keys"])
    return found


def is_signed_by_us(document: dict[str, Any]) -> bool:
    key = generate_key(b"test" * 8, "a_test").verify_key
    return verify_json(document, SERVER_NAME, key, "ed25519:a_test")


async def test_our_keys(front: Front) -> None:
    """The key in use and the old ones, self-signed, valid for a day and never for less than an hour."""
    answer = (await front.ask(None, "GET", KEYS)).body
    told = read_server_keys(SERVER_NAME, answer, TS)
    assert {key.key_id: key.expired_ts for key in told.keys} == {"ed25519:a_test": None, OLD.key_id: TS - DAY_MS}
    assert is_signed_by_us(answer)
    assert told.answer.valid_until_ts == TS + VALIDITY_MS
    front.clock.ms += RENEWAL_MS - 1
    assert (await front.ask(None, "GET", KEYS)).body == answer
    front.clock.ms += 1
    assert (await front.ask(None, "GET", KEYS)).body["valid_until_ts"] == TS + RENEWAL_MS + VALIDITY_MS


async def test_a_notary_adds_its_signature(front: Front) -> None:
    """Both ways of asking give the server's whole answer, signed by it and by us; our own keys are among them."""
    front.network.answers[PEER.name, KEYS] = PEER.keys(TS + DAY_MS) | {"more": 1.5}
    del front.network.answers[PEER.name, KEYS]["more"]
    (by_get,) = (await front.ask(None, "GET", f"{QUERY}/{PEER.name}")).body["server_keys"]
    found = await query(front, PEER.name, SERVER_NAME, "not a name", "nobody.example")
    assert set(found) == {PEER.name, SERVER_NAME}
    assert found[PEER.name] == by_get
    assert is_signed_by_us(by_get) and is_signed_by_us(found[SERVER_NAME])
    assert read_server_keys(PEER.name, by_get, TS).answer.document == PEER.keys(TS + DAY_MS)
    assert front.network.asked == [(PEER.name, KEYS), ("nobody.example", KEYS)]


async def test_a_notary_asks_when_its_answer_is_old(front: Front) -> None:
    """Past half of its life, or when it does not last as long as is wanted; not in between."""
    front.network.answers[PEER.name, KEYS] = PEER.keys(TS + 2 * DAY_MS)
    await query(front, PEER.name)
    front.clock.ms = TS + DAY_MS - 1
    await query(front, PEER.name)
    assert len(front.network.asked) == 1
    front.network.answers[PEER.name, KEYS] = PEER.keys(TS + 3 * DAY_MS)
    found = await query(front, PEER.name, until=TS + 3 * DAY_MS)
    assert len(front.network.asked) == 2
    assert found[PEER.name]["valid_until_ts"] == TS + 3 * DAY_MS
    front.clock.ms = TS + 2 * DAY_MS
    await query(front, PEER.name)
    assert len(front.network.asked) == 3


async def test_a_notary_speaks_for_the_dead(front: Front) -> None:
    """The last answer of a server that is gone is passed on, for its old events."""
    front.network.answers[PEER.name, KEYS] = PEER.keys(TS + DAY_MS)
    await query(front, PEER.name)
    front.network.answers.clear()
    front.clock.ms += 30 * DAY_MS
    assert (await query(front, PEER.name))[PEER.name]["valid_until_ts"] == TS + DAY_MS


async def test_who_lies_is_not_passed_on(front: Front) -> None:
    """Neither keys of another server nor an answer that is not signed by itself."""
    front.network.answers[PEER.name, KEYS] = OTHER.keys()
    front.network.answers[OTHER.name, KEYS] = {**OTHER.keys(), "valid_until_ts": 1}
    assert await query(front, PEER.name, OTHER.name) == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"server_keys": []},
        {"server_keys": {"peer.example": []}},
        {"server_keys": {"peer.example": {"ed25519:a": 1}}},
        {"server_keys": {"peer.example": {"ed25519:a": {"minimum_valid_until_ts": "1"}}}},
        {"server_keys": {"peer.example": {"ed25519:a": {"minimum_valid_until_ts": 2**60}}}},
        {"server_keys": {f"{number}.example": {} for number in range(1001)}},
    ],
)
async def test_odd_queries(front: Front, body: dict[str, Any]) -> None:
    """Refused, and nobody is asked."""
    assert (await front.ask(None, "POST", QUERY, body)).status == 400
    assert (await front.ask(None, "GET", f"{QUERY}/x", query={"minimum_valid_until_ts": "soon"})).status == 400
    assert front.network.asked == []


async def test_nobody_makes_us_ask_the_world(front: Front) -> None:
    """One address can name a thousand unknown servers, then it has to wait."""
    for start in range(0, 1000, 500):
        assert await query(front, *(f"{start + number}.example" for number in range(500))) == {}
    refused = await front.ask(None, "GET", f"{QUERY}/one.more.example")
    assert (refused.status, refused.body["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    front.clock.ms += PAUSE_MS
    assert (await front.ask(None, "GET", f"{QUERY}/one.more.example")).status == 200


async def test_version(front: Front) -> None:
    """Everybody may know what we are."""
    answer = (await front.ask(None, "GET", "/_matrix/federation/v1/version")).body
    assert answer["server"]["name"] == "Parley" and answer["server"]["version"]


async def test_unknown_paths(front: Front) -> None:
    """As clients are told: 404 and 405, both M_UNRECOGNIZED."""
    for method, path, status in (("GET", "/_matrix/federation/v1/nothing", 404), ("PUT", KEYS, 405)):
        answer = await front.ask(None, method, path)
        assert (answer.status, answer.body["errcode"]) == (status, "M_UNRECOGNIZED")
