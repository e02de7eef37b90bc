"""Packed state groups: they say what a dict says, in few bytes written per change."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.storage.packing import ENTRY, MAX_LAYERS, derive, find, flatten, pack, unpack

KEYS = st.integers(min_value=0, max_value=40) | st.integers(min_value=2**32 - 4, max_value=2**32 - 1)
EVENTS = st.integers(min_value=0, max_value=3) | st.integers(min_value=2**63 - 3, max_value=2**63 - 1)
CHANGES = st.dictionaries(KEYS, EVENTS, max_size=70)


def apply(layers: list[bytes], changes: dict[int, int]) -> list[bytes]:
    """The layers of the state with `changes`, as storage chains them."""
    taken, top = derive(layers, changes)
    return [top, *layers[taken:]]


@settings(max_examples=50, deadline=None)
@given(st.lists(CHANGES, max_size=25))
def test_group_is_a_dict(steps: list[dict[int, int]]) -> None:
    """After any changes, event 0 unsetting a key, every key and the whole state are those of a dict."""
    layers: list[bytes] = []
    expected: dict[int, int] = {}
    seen: set[int] = {7}
    for changes in steps:
        before, state_before = list(layers), dict(expected)
        layers = apply(layers, changes)
        expected = {key: event for key, event in {**expected, **changes}.items() if event}
        seen |= changes.keys()

        assert flatten(layers) == expected
        assert {key: event for key in seen if (event := find(layers, key)) is not None} == expected
        assert len(layers) <= MAX_LAYERS
        assert flatten(before) == state_before  # a group is never changed by those that follow it
        assert all(event for event in unpack(layers[-1]).values()) or len(layers) > 1


@given(CHANGES)
def test_packed_entries_come_back(entries: dict[int, int]) -> None:
    """What is packed can be unpacked, and lies there sorted by key."""
    packed = pack(entries)

    assert unpack(packed) == entries
    assert list(unpack(packed)) == sorted(entries)
    assert len(packed) == len(entries) * ENTRY.size


def test_nothing_stands_in_an_empty_group() -> None:
    """The group without layers has no key."""
    assert find([], 1) is None
    assert find([b""], 1) is None
    assert flatten([]) == {}


def test_few_entries_are_written_per_change() -> None:
    """A room that grows to 10,000 members one by one, and then changes at random, writes few entries per change."""
    dice = random.Random(1)
    layers: list[bytes] = []
    growing = 0
    for key in range(10_000):
        layers = apply(layers, {key: key + 1})
        growing += len(layers[0])
    changing = 0
    for event in range(3_000):
        layers = apply(layers, {dice.randrange(10_000): event + 20_000})
        changing += len(layers[0])

    assert growing / 10_000 / ENTRY.size < 60
    assert changing / 3_000 / ENTRY.size < 60
    assert len(flatten(layers)) == 10_000
