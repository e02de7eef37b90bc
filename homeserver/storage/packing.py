"""State groups as packed bytes: pure functions.

A layer is a sorted list of (key number, event number) entries of 12 bytes, big-endian, so that bytes sort as the
numbers do. A group is a chain of at most four layers, the newest first; event number 0 in a layer says that the key is
not set. Layers grow geometrically towards the base, so that a change of one key rewrites few entries.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

ENTRY = struct.Struct(">IQ")
MAX_LAYERS = 4
# A layer is merged with the one beneath it as soon as it is more than 1/8 of its size.
RATIO = 8
# Below this many entries a group is one layer.
SMALL = 48


def pack(entries: Mapping[int, int]) -> bytes:
    return b"".join(ENTRY.pack(key, entries[key]) for key in sorted(entries))


def unpack(layer: bytes) -> dict[int, int]:
    return dict(ENTRY.iter_unpack(layer))


def find(layers: Iterable[bytes], key: int) -> int | None:
    """The event number at `key`, None if the key is not set."""
    wanted = key.to_bytes(4, "big")
    for layer in layers:
        count = len(layer) // ENTRY.size
        index = bisect_left(range(count), wanted, key=_KeyAt(layer).__getitem__)
        if index < count and layer[index * 12 : index * 12 + 4] == wanted:
            event: int = ENTRY.unpack_from(layer, index * 12)[1]
            return event or None
    return None


class _KeyAt:
    """The key of each entry of a layer, as bytes."""

    __slots__ = ("_layer",)

    def __init__(self, layer: bytes) -> None:
        self._layer = layer

    def __getitem__(self, index: int) -> bytes:
        return self._layer[index * 12 : index * 12 + 4]


def flatten(layers: Sequence[bytes]) -> dict[int, int]:
    """All keys that are set."""
    state: dict[int, int] = {}
    for layer in reversed(layers):
        state.update(unpack(layer))
    return {key: event for key, event in state.items() if event}


def derive(layers: Sequence[bytes], changes: Mapping[int, int]) -> tuple[int, bytes]:
    """The state of `layers` with `changes` (event 0 unsets a key), as (how many of the newest layers it takes the
    place of, its own top layer)."""
    merged = dict(changes)
    taken = 0
    sizes = [len(layer) // ENTRY.size for layer in layers]
    while taken < len(layers) and (
        len(merged) * RATIO > sizes[taken] or len(layers) - taken >= MAX_LAYERS or sizes[taken] + len(merged) <= SMALL
    ):
        beneath = unpack(layers[taken])
        beneath.update(merged)
        merged = beneath
        taken += 1
    if taken == len(layers):
        merged = {key: event for key, event in merged.items() if event}
    return taken, pack(merged)
