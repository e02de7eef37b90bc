"""What servers say of their keys, and when a key counts."""

from typing import Any

import pytest

from homeserver.domain.errors import BadRequest
from homeserver.domain.server_keys import (
    MAX_KEYS,
    MAX_KNOWN_KEYS,
    MAX_VALIDITY_MS,
    KeyAnswer,
    ServerKey,
    merge_keys,
    read_server_keys,
)
from tests.builders.identity import TS, Peer

PEER = Peer("peer.example")
OLD = Peer("peer.example", "a_old")
DAY_MS = 24 * 3600 * 1000


def changed(**members: Any) -> dict[str, Any]:
    """The peer's answer with other members, signed by it."""
    answer = {**PEER.keys(), **members}
    del answer["signatures"]
    return PEER.sign_json(answer)


def test_an_answer_is_read() -> None:
    """Keys in use count until the answer ends, old ones until they expired; what others added to it is left out."""
    answer = PEER.keys(TS + DAY_MS, [OLD.old_key(TS - 5)])
    noted = Peer("notary.example").sign_json(answer) | {"unsigned": {"age": 1}}
    keys = read_server_keys("peer.example", noted, TS)
    assert {key.key_id: (key.valid_until_ts, key.expired_ts) for key in keys.keys} == {
        PEER.key_id: (TS + DAY_MS, None),
        OLD.key_id: (TS + DAY_MS, TS - 5),
    }
    assert keys.answer == KeyAnswer(answer, TS + DAY_MS, TS)


def test_no_key_counts_for_more_than_seven_days() -> None:
    """However long the server says, and an old key cannot expire in the future."""
    told = read_server_keys("peer.example", PEER.keys(TS + 400 * DAY_MS, [OLD.old_key(TS + 400 * DAY_MS)]), TS)
    current, old = told.keys
    assert current.valid_until_ts == told.answer.valid_until_ts == TS + MAX_VALIDITY_MS
    assert old.expired_ts == TS


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        Peer("other.example").keys(),
        {**PEER.keys(), "server_name": "other.example"},
        {**PEER.keys(), "valid_until_ts": 1},
        {key: value for key, value in PEER.keys().items() if key != "signatures"},
        {**PEER.keys(), "signatures": {"peer.example": {PEER.key_id: "AAAA"}}},
        {**PEER.keys(), "signatures": {"peer.example": "x"}},
        changed(valid_until_ts="1"),
        changed(valid_until_ts=True),
        changed(valid_until_ts=-1),
        changed(valid_until_ts=2**53),
        changed(verify_keys={}),
        changed(verify_keys=[]),
        changed(verify_keys={OLD.key_id: OLD.keys()["verify_keys"][OLD.key_id]}),
        changed(old_verify_keys=[]),
        changed(verify_keys={**PEER.keys()["verify_keys"], **{f"ed25519:{n}": {} for n in range(MAX_KEYS)}}),
        changed(padding="x" * 70_000),
    ],
)
def test_what_is_no_answer_is_refused(answer: Any) -> None:
    """Of another server, changed, unsigned, signed by a key that it does not name, without a time, or too large."""
    with pytest.raises(BadRequest):
        read_server_keys("peer.example", answer, TS)


def test_odd_keys_in_an_answer_are_passed_over() -> None:
    """Other algorithms and malformed keys are none; the rest of the answer stands."""
    good = PEER.keys()["verify_keys"]
    odd: dict[str, Any] = {"curve25519:a": {"key": "AAAA"}, "ed25519:b": {"key": "AAAA"}, "ed25519:c": 1, "x": {}}
    old = {"ed25519:d": {"key": good[PEER.key_id]["key"], "expired_ts": "1"}, "ed25519:e": good[PEER.key_id]}
    told = read_server_keys("peer.example", changed(verify_keys={**good, **odd}, old_verify_keys=old), TS)
    assert [key.key_id for key in told.keys] == [PEER.key_id]


def test_when_a_key_counts() -> None:
    """A key in use: until the answer ends, where that is enforced. An old one: until it expired, everywhere."""
    current, old = ServerKey("ed25519:a", b"", 100), ServerKey("ed25519:b", b"", 100, 50)
    assert current.counts_at(100) and not current.counts_at(101)
    assert current.counts_at(101, enforce_validity=False)
    assert old.counts_at(50) and not old.counts_at(51)
    assert not old.counts_at(51, enforce_validity=False)


def test_answers_add_up() -> None:
    """Keys that are left out stay, expired ones stay expired, and times only grow."""
    first = merge_keys([], [ServerKey("a", b"1", 100), ServerKey("b", b"2", 100)], by_server=True)
    second = merge_keys(first, [ServerKey("a", b"1", 90, 60), ServerKey("c", b"3", 200)], by_server=True)
    third = merge_keys(second, [ServerKey("a", b"1", 300), ServerKey("c", b"3", 150)], by_server=False)
    assert {key.key_id: key for key in third} == {
        "a": ServerKey("a", b"1", 300, 60),
        "b": ServerKey("b", b"2", 100),
        "c": ServerKey("c", b"3", 200),
    }


def test_only_the_server_gives_a_name_to_another_key() -> None:
    """What a notary says adds to what is known, and replaces nothing."""
    known, other = [ServerKey("a", b"1", 100)], [ServerKey("a", b"2", 200)]
    assert merge_keys(known, other, by_server=False) == known
    assert merge_keys(known, other, by_server=True) == other


def test_a_server_cannot_fill_the_table() -> None:
    """Of endless keys the newest are kept, those in use before old ones."""
    keys: list[ServerKey] = [ServerKey("current", b"", 1)]
    for number in range(MAX_KNOWN_KEYS + 50):
        keys = merge_keys(keys, [ServerKey(f"old{number}", b"", 1, number)], by_server=True)
    assert len(keys) == MAX_KNOWN_KEYS
    assert {"current", f"old{MAX_KNOWN_KEYS + 49}"} <= {key.key_id for key in keys}


def test_a_notary_asks_again_at_half_of_an_answers_life() -> None:
    """Until then the server need not be bothered."""
    answer = KeyAnswer({}, 200, 100)
    assert answer.is_fresh(149) and not answer.is_fresh(150)
    assert not KeyAnswer({}, 50, 100).is_fresh(100)
