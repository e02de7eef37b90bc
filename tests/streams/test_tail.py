"""The tail: the recent publications by key, bounded, and honest about what it no longer holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BrokenInvariant
from homeserver.streams.publications import AccountDataItem, Publication
from homeserver.streams.tail import Tail, Truncated, weight
from tests.streams.items import event_at, typing_at

KEYS = ["r1", "r2", "ua"]
# Steps between positions (0: two publications of one position), and keys.
COMINGS = st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from(KEYS), min_size=1)), max_size=30)


@given(COMINGS, st.integers(1, 12), st.integers(0, 60), st.integers(0, 60))
def test_tail_answers_as_a_list_would(
    comings: list[tuple[int, set[str]]], max_entries: int, after: int, upto: int
) -> None:
    """For each key: exactly the publications in the range, in order, or Truncated if any could be missing."""
    tail = Tail(0, max_entries=max_entries)
    everything: list[Publication] = []
    position = 1
    for step, keys in comings:
        position += step
        everything.append(typing_at(position, *sorted(keys)))
        tail.append(everything[-1])
        assert tail.size[0] <= max_entries
    kept = everything[-max_entries:]
    assert list(tail) == kept
    lost = max((one.position for one in everything[: len(everything) - len(kept)]), default=0)
    assert tail.floor == lost
    for key in KEYS:
        if after < lost:
            with pytest.raises(Truncated):
                tail.since(key, after, upto)
            with pytest.raises(Truncated):
                tail.is_any_touched({key}, after)
        else:
            for keys in ({key}, set(KEYS) - {key}, set()):
                touching = [one for one in everything if one.position > after and keys & set(one.keys)]
                assert tail.is_any_touched(keys, after) == bool(touching)
            assert tail.since(key, after, upto) == [
                one for one in everything if key in one.keys and after < one.position <= upto
            ]


def test_nothing_before_the_floor() -> None:
    """What happened before the tail began must be read from the tables."""
    tail = Tail(100)

    assert tail.since("r1", 100, 200) == []
    with pytest.raises(Truncated):
        tail.since("r1", 99, 200)


def test_bytes_are_bounded() -> None:
    """Large events push out old ones; one that is larger than everything leaves nothing."""
    tail = Tail(0, max_bytes=10_000)
    for position in range(1, 50):
        tail.append(event_at(position, client="x" * 1000))
        assert tail.size[1] == sum(weight(one) for one in tail) <= 10_000
    tail.append(event_at(50, client="x" * 20_000))

    assert tail.size == (0, 0)
    assert tail.floor == 50
    assert tail.since("r1", 50, 60) == []


def test_forgetting_everything() -> None:
    """Afterwards the tail is as if it began now."""
    tail = Tail(0)
    for position in (1, 2, 3):
        tail.append(event_at(position, "r1", f"u{position}", redacted=("$old", "")))
    tail.forget_all()

    assert tail.size == (0, 0)
    assert tail.floor == 3
    assert not tail.is_redacted("$old")
    with pytest.raises(Truncated):
        tail.since("r1", 2, 3)


def test_redacted_events_are_known_while_the_redaction_is_here() -> None:
    """Whoever takes an event from the tail learns that its content was taken away since."""
    tail = Tail(0, max_entries=2)
    tail.append(event_at(1))
    tail.append(event_at(2, redacted=("$1", "")))
    assert tail.is_redacted("$1")
    assert not tail.is_redacted("$2")
    tail.append(event_at(3))
    assert tail.is_redacted("$1")
    tail.append(event_at(4))
    assert not tail.is_redacted("$1")


def test_tail_is_filled_once_before_anything_else() -> None:
    """With what was published before the process began; of what only memory held, nothing is known."""
    tail = Tail(100, max_entries=2)
    assert (tail.start, tail.lost_before) == (100, 100)
    tail.fill(50, [event_at(51), event_at(60), event_at(60, "r2"), event_at(70)], 40)
    assert (tail.start, tail.floor, tail.lost_before, tail.size[0]) == (100, 60, 40, 2)
    assert [one.position for one in tail.since("r1", 60, 100)] == [70]
    with pytest.raises(BrokenInvariant):
        tail.fill(50, [], 0)
    late = Tail(100)
    late.append(event_at(101))
    with pytest.raises(BrokenInvariant):
        late.fill(50, [], 0)


def test_content_of_account_data_weighs() -> None:
    """What a client keeps with us may be large."""
    item = AccountDataItem("@a:x", None, "x", "y" * 5_000)
    tail = Tail(0, max_bytes=10_000)
    tail.append(Publication(1, ("ua",), item))
    assert tail.size == (1, 5_500)
    tail.append(Publication(2, ("ua",), item))
    assert tail.size == (1, 5_500)
