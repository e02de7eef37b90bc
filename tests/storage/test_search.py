"""The index of search itself: its windows hold the newest matches, and PostgreSQL reads them from its indexes."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from homeserver.services.search.matches import MOST_MATCHES, find_newest
from homeserver.storage.history import RANK_END, Place
from homeserver.storage.search import BLOCKS, STATEMENTS, SearchRow, Wanted
from homeserver.storage.store import Store
from tests.builders.house import TestHouse
from tests.storage.conftest import Place as Where

RARE, COMMON, ABSENT = 11, 12, 13
EVERYTHING = Place(2**25, -RANK_END)


def row(number: int, anchor: int, *, room: int = 1, rank: int = 0, grams: tuple[int, ...] = (COMMON,)) -> SearchRow:
    words = ("common",) if COMMON in grams else ("rare",)
    return SearchRow(number, room, Place(anchor, rank), 0, "@a:test.example", False, None, words, grams)


def wanted(*grams: int, words: tuple[str, ...] = (), rooms: dict[int, int] | None = None, **more: Any) -> Wanted:
    values: dict[str, Any] = {"named": (), "keys": (0, 1, 2), "sender": None, "only_files": False, **more}
    return Wanted(words=words, grams=grams, rooms={1: 2**62} if rooms is None else rooms, **values)


async def put(house: TestHouse, rows: list[SearchRow]) -> None:
    for begin in range(0, len(rows), 5_000):
        part = rows[begin : begin + 5_000]
        await house.database.write(lambda store, part=part: store.search.put(part))  # type: ignore[misc]


async def test_rare_matches_are_found_wherever_they_are(house: TestHouse) -> None:
    """Old or new, in blocks of every width, in few rooms or many, each once and newest first; by all conditions."""
    width = 1 << BLOCKS[-1]
    anchors = [3, 5, 20_000, 300_000, width + 7, 5 * width, 5 * width + 1]
    rows = [row(n, anchor, room=n % 2, grams=(RARE, COMMON)) for n, anchor in enumerate(anchors, 1)]
    rows += [row(100 + n, anchor + 1, room=2, grams=(RARE,)) for n, anchor in enumerate(anchors)]
    await put(house, rows)
    many = dict.fromkeys(range(200), 2**62)

    def work(store: Store) -> None:
        def ask(asked: Wanted, top: Place = EVERYTHING) -> list[int]:
            found = find_newest(store.search, asked, top, 100)
            assert not found.more
            return [match.anchor for match in found.matches]

        both = {0: 2**62, 1: 2**62}
        assert ask(wanted(RARE, rooms=both)) == anchors[::-1]
        assert ask(wanted(RARE, rooms={**many, **both})) == sorted([*anchors, *(one + 1 for one in anchors)])[::-1]
        assert ask(wanted(RARE, rooms={1: 2**62})) == anchors[::2][::-1]
        assert ask(wanted(RARE, rooms={0: 300_000, 1: 20_000})) == [300_000, 20_000, 5, 3]
        assert ask(wanted(RARE, rooms=both), Place(300_000, 0)) == [20_000, 5, 3]
        assert ask(wanted(RARE, rooms=both), Place(300_000, 1)) == [300_000, 20_000, 5, 3]
        for rooms in (both, {**many, **both, 2: 5}):
            assert ask(wanted(words=("common",), rooms=rooms)) == anchors[::-1]
            assert ask(wanted(RARE, COMMON, words=("common",), rooms=rooms)) == anchors[::-1]
        assert ask(wanted(words=("common", "rare"), rooms=both)) == []
        assert ask(wanted(RARE, ABSENT)) == ask(wanted(ABSENT, rooms=many)) == ask(wanted(RARE, rooms={7: 2**62})) == []
        assert ask(wanted(RARE, rooms=both, keys=(1, 2))) == ask(wanted(RARE, rooms=both, only_files=True)) == []
        assert ask(wanted(RARE, rooms=both, sender="@a:test.example")) == anchors[::-1]
        assert ask(wanted(RARE, rooms=both, sender="@b:test.example")) == []

    await house.database.read(work)


async def test_common_matches_are_read_from_the_newest_on(house: TestHouse) -> None:
    """Of thousands only the newest are read; what lies below them follows, and nothing is missing or comes twice."""
    count = MOST_MATCHES * 4
    await put(house, [row(n, 2 * n, room=n % 3) for n in range(1, count + 1)])
    rooms = {0: 2**62, 1: 2**62}
    expected = [2 * n for n in range(count, 0, -1) if n % 3 < 2]

    def work(store: Store) -> None:
        told: list[int] = []
        top, rounds = EVERYTHING, 0
        while True:
            found = find_newest(store.search, wanted(COMMON, rooms=rooms), top, MOST_MATCHES)
            told += [match.anchor for match in found.matches]
            rounds += 1
            if not found.more:
                break
            assert len(found.matches) == MOST_MATCHES
            top = found.bottom
        assert told == expected and rounds == 3

    await house.database.read(work)


async def test_many_of_one_place(house: TestHouse) -> None:
    """Thousands that were back-filled before one event are read a part at a time, and the search ends."""
    count = 21_000
    await put(house, [row(n, 77, rank=-n) for n in range(1, count + 1)])

    def work(store: Store) -> None:
        found = find_newest(store.search, wanted(COMMON), EVERYTHING, MOST_MATCHES)
        assert found.more and len(found.matches) == MOST_MATCHES
        told = [match.rank for match in found.matches]
        assert told == sorted(told, reverse=True)

    await house.database.read(work)


@pytest.fixture(scope="module")
def explained(place: Where) -> Iterator[Engine]:
    yield place.engine


async def test_every_search_uses_an_index(house: TestHouse, explained: Engine) -> None:
    """EXPLAIN shows, for numbers, words and both, in few rooms and in many, before there are figures about the table
    and after."""
    await put(house, [row(n, n, room=n % 40, grams=(1000 + n % 900, COMMON, -n)) for n in range(1, 6_001)])
    arguments = "2000000, 0, '{0}', '{1,2,3}', '{9,9,9}', 'x', 'x', 10, '{1005,12}', '''common''', '{5,6}', 6001"
    with explained.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        for figures in ("SELECT 1", "ANALYZE search"):
            connection.execute(text(figures))
            for (numbers, words, few), statement in STATEMENTS.items():
                connection.exec_driver_sql(statement.prepare.decode().replace("%", "%%"))
                plan = connection.exec_driver_sql(f"EXPLAIN EXECUTE {statement.name}({arguments})").scalars().all()
                connection.exec_driver_sql(f"DEALLOCATE {statement.name}")
                shown = "\n".join(plan)
                indexes = {name for name in ("search_grams", "search_words") if f"Index Scan on {name}" in shown}
                assert indexes and "Seq Scan" not in shown, shown
                assert "search_grams" in indexes or words, shown
                assert numbers or few or indexes == {"search_words"}, shown
