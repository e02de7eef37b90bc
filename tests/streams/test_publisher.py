"""Publications come out in the order of their positions, when nothing before them is unfinished any more."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from homeserver.streams.notifier import Notifier, Watcher
from homeserver.streams.positions import Positions
from homeserver.streams.publications import Publication
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail
from tests.streams.items import typing_at


class OneBlock:
    def reserve(self) -> tuple[int, int]:
        return 1, 10_000


class Streams:
    """All of them together, and what a listener heard."""

    def __init__(self) -> None:
        self.positions = Positions(OneBlock())
        self.tail = Tail(self.positions.current())
        self.notifier = Notifier()
        self.publisher = Publisher(self.positions, self.tail, self.notifier)
        self.heard: list[Publication] = []
        self.publisher.listen(self._hear)

    def _hear(self, publication: Publication) -> None:
        assert publication.position <= self.positions.current()
        self.heard.append(publication)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12), st.randoms(use_true_random=False))
def test_order_is_that_of_the_positions(writes: list[tuple[int, bool]], random: Random) -> None:
    """Writes that take positions in one order and end in any other, some without success: all is shown in order."""
    streams = Streams()
    taken = [([streams.positions.take() for _ in range(count)], succeeds) for count, succeeds in writes]
    order = list(range(len(taken)))
    random.shuffle(order)
    ended: list[int] = []
    for index in order:
        positions, succeeds = taken[index]
        publications = [typing_at(position) for position in positions] if succeeds else []
        streams.publisher.committed(positions, publications)
        ended.append(index)
        unfinished = [one for other, (several, _) in enumerate(taken) if other not in ended for one in several]
        shown = [
            one
            for other, (several, well) in enumerate(taken)
            if other in ended and well
            for one in several
            if one < min(unfinished, default=10**9)
        ]
        assert [publication.position for publication in streams.heard] == sorted(shown)
        assert streams.publisher.current() == streams.positions.current()
    assert streams.publisher.held == 0
    assert list(streams.tail) == streams.heard


def test_several_publications_of_one_position() -> None:
    """They come out together, in the order in which they were made."""
    streams = Streams()
    first, second = streams.positions.take(), streams.positions.take()
    late = [typing_at(second, "r1"), typing_at(second, "r2"), typing_at(second, "r3")]
    streams.publisher.committed([second], late)
    assert streams.publisher.held == 3
    streams.publisher.committed([first], [])

    assert streams.heard == late


def test_everything_is_told_before_anybody_wakes() -> None:
    """Who is woken finds the publication in the tail, and with every listener."""
    streams = Streams()
    seen: list[tuple[int, bool]] = []

    class Curious(Watcher):
        def touch(self, key: str) -> None:
            seen.append((len(streams.heard), streams.tail.since(key, 0, 10) == streams.heard))

    streams.notifier.watch(Curious(), ["r1"])
    position = streams.positions.take()
    streams.publisher.committed([position], [typing_at(position, "r1")])

    assert seen == [(1, True)]


def test_failed_write_shows_nothing() -> None:
    """Its positions are finished, and the watermark passes them."""
    streams = Streams()
    positions = [streams.positions.take() for _ in range(3)]
    streams.publisher.committed(positions, [])

    assert streams.heard == []
    assert streams.publisher.current() == positions[-1]
