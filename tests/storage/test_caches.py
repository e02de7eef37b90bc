"""Caches: bounded in bytes, and nothing that was dropped comes back."""

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.event import Event
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.storage.caches import ByteCache
from homeserver.storage.events import StoredEvent, weigh

STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 9), st.integers(1, 40)), max_size=80)


@given(STEPS)
def test_cache_holds_at_most_its_bytes(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is put and dropped: what is found is what was put last, and the sum of weights stays below the bound."""
    cache: ByteCache[int, tuple[int, int]] = ByteCache(100, lambda value: value[1])
    put: dict[int, tuple[int, int]] = {}
    dropped: set[int] = set()
    for number, (what, key, weight) in enumerate(steps):
        if what == "put":
            cache.put(key, (number, weight))
            put[key] = (number, weight)
        elif what == "drop":
            cache.drop(key)
            dropped.add(key)
        assert cache.get(key) in (None, put.get(key))
        held = [value for one in range(10) if (value := cache.get(one)) is not None]
        assert cache.bytes == sum(weight for _, weight in held) <= 100
        assert len(cache) == len(held)
        assert all(cache.get(one) is None for one in dropped)


def test_least_recently_used_goes_first() -> None:
    """What was asked for stays, what nobody asked for goes."""
    cache: ByteCache[str, int] = ByteCache(3, lambda value: 1)
    for key in "abc":
        cache.put(key, ord(key))
    cache.get("a")
    cache.put("d", 4)

    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.get("d")) == (97, None, 99, 4)


def test_dropped_entry_is_not_put_back() -> None:
    """A reader with an old snapshot cannot bring back what a redaction took away."""
    cache: ByteCache[int, str] = ByteCache(100, len)
    cache.put(1, "content")
    cache.drop(1)
    cache.put(1, "content")

    assert cache.get(1) is None
    assert cache.bytes == 0


def test_many_threads() -> None:
    """The sum of bytes is right after eight threads put and drop at once."""
    cache: ByteCache[int, int] = ByteCache(1000, lambda value: value)

    def work(seed: int) -> None:
        for step in range(2000):
            key = (seed * 7 + step * 13) % 200
            cache.put(key, key % 17 + 1)
            if step % 5 == 0:
                cache.drop(key + 1000)
            cache.get(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cache.bytes == sum(cache.get(key) or 0 for key in range(200)) <= 1000


def test_event_weighs_what_its_content_holds() -> None:
    """A large event cannot hide its size in nested objects or unknown members."""
    text = "x" * 30_000
    contents: list[dict[str, Any]] = [{"body": text}, {"a": {"b": [text]}}, {"a": [[{"b": text}]]}, {text: 1}]
    pdus: list[dict[str, Any]] = [{"content": {}, "unknown": {"a": text}}]
    for pdu in [*({"content": content} for content in contents), *pdus]:
        event = Event(
            version=ROOM_VERSIONS["12"], event_id="$a", room_id="!a", sender="@a:a", type="t", state_key=None,
            content=pdu["content"], origin_server_ts=0, depth=1, prev_events=(), auth_events=(), redacts=None, pdu=pdu,
        )  # fmt: skip
        assert weigh(StoredEvent(1, event, False, (), ())) > 30_000
