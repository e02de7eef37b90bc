"""Decision 6: what does a change of a room's state cost, in entries written and in time?"""

import random
import time

from docs.decisions.spikes.ground import say
from homeserver.storage.packing import ENTRY, derive, find, flatten, pack

CHANGES = 3_000


def changes_of(size: int) -> None:
    chance = random.Random(size)
    layers = [pack({key: key for key in range(1, size + 1)})]
    written, most, lookups, deep = 0, 1, 0.0, 0
    for number in range(CHANGES):
        key = chance.randint(1, size) if chance.random() < 0.9 else size + number
        taken, top = derive(layers, {key: 10**9 + number})
        layers = [top, *layers[taken:]]
        written += len(top) // ENTRY.size
        most = max(most, len(layers))
        started = time.perf_counter()
        find(layers, chance.randint(1, size))
        lookups += time.perf_counter() - started
        deep += 1
    started = time.perf_counter()
    flatten(layers)
    whole = time.perf_counter() - started
    say(
        f"{size:6} keys: {written / CHANGES:6.1f} entries ({written / CHANGES * ENTRY.size:.0f} bytes) a change,"
        f" at most {most} layers, one key found in {1e6 * lookups / deep:.1f} us, all of them in {1000 * whole:.1f} ms;"
        f" a full copy writes {size} entries"
    )


def what_changed(size: int) -> None:
    """Between two syncs one member joined: compare two groups, or read rows of state_changes."""
    before = {key: key for key in range(1, size + 1)}
    after = {**before, 17: 10**9}
    layers = ([pack(before)], [pack({17: 10**9}), pack(before)])
    started = time.perf_counter()
    for _ in range(20):
        old, new = flatten(layers[0]), flatten(layers[1])
        assert {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} == {17}
    say(f"{size:6} keys: two groups are compared in {1000 * (time.perf_counter() - started) / 20:.2f} ms")
    assert after[17] == 10**9


if __name__ == "__main__":
    for keys in (30, 300, 1_000, 10_000):
        changes_of(keys)
    for keys in (300, 10_000):
        what_changed(keys)
