"""The keys of other servers outlive a restart, and add up."""

from homeserver.domain.server_keys import KeyAnswer, ServerKey, ServerKeys
from homeserver.services.server_keys import KeptServerKeys
from tests.builders.house import TestHouse

PEER = "peer.example"


def told(*keys: ServerKey, fetched_ts: int = 1) -> ServerKeys:
    document = {"server_name": PEER, "number": 1.5, "text": "\0", "fetched": fetched_ts}
    return ServerKeys(PEER, keys, KeyAnswer(document, 2**53 - 1, fetched_ts))


async def test_keys_and_the_newest_answer_are_kept(house: TestHouse) -> None:
    """Every key that was ever told, with its times; of answers the newest alone; of strangers nothing."""
    kept = KeptServerKeys(house.database)
    old, current = ServerKey("ed25519:a", b"1" * 32, 10), ServerKey("ed25519:b", b"2" * 32, 20)
    assert await kept.keep(told(old), by_server=True) == [old]
    expired = ServerKey("ed25519:a", b"1" * 32, 10, 5)
    await kept.keep(told(expired, current, fetched_ts=2), by_server=True)
    found = await kept.keys([PEER, "other.example"])
    assert {name: set(keys) for name, keys in found.items()} == {PEER: {expired, current}}
    assert await kept.answers([PEER, "other.example"]) == {PEER: told(fetched_ts=2).answer}


async def test_a_key_that_is_forgotten_leaves_the_table(house: TestHouse) -> None:
    """What the bound on keys pushes out is gone; another server's keys are not."""
    kept = KeptServerKeys(house.database)
    key = ServerKey("ed25519:a", b"1" * 32, 10)
    await kept.keep(told(key), by_server=True)
    await house.database.write(lambda store: store.server_keys.set_keys("other.example", [key]))
    await house.database.write(lambda store: store.server_keys.set_keys(PEER, []))
    assert await kept.keys([PEER, "other.example"]) == {"other.example": [key]}
