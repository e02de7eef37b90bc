"""Reading a room's history in the order (anchor, rank), and the stream of all rooms by position."""

import random
from collections.abc import Sequence

import pytest

from homeserver.storage.events import EventRow, NewEvent
from homeserver.storage.history import RANK_END, Place
from homeserver.storage.store import Store
from homeserver.storage.stream import EventStream
from tests.builders.house import TestHouse
from tests.storage.samples import sample_row


@pytest.fixture
async def events(house: TestHouse) -> list[NewEvent]:
    """Two rooms with live events, back-filled ones before some of them, and some that nobody sees."""
    dice = random.Random(4)
    rows: list[NewEvent] = []
    number = 0
    for anchor in range(1000, 1060):
        number += 1
        room = dice.choice([1, 2])
        rows.append(sample_row(number, anchor, room=room))
        for rank in range(1, dice.choice([1, 1, 1, 4])):
            number += 1
            rows.append(sample_row(number, anchor, room=room, rank=-rank, live=False))
        if dice.random() < 0.2:
            number += 1
            rows.append(sample_row(number, None, room=room, rejected="no"))
    dice.shuffle(rows)

    def write(store: Store) -> None:
        for row in rows:
            store.events.add(row)

    await house.database.write(write)
    return rows


def place(row: NewEvent) -> Place:
    assert row.anchor is not None
    return Place(row.anchor, row.rank)


def in_order(events: list[NewEvent], room: int) -> list[NewEvent]:
    return sorted((row for row in events if row.room == room and row.anchor is not None), key=place)


def numbers(rows: Sequence[NewEvent | EventRow]) -> list[int]:
    return [row.number for row in rows]


async def test_pages_cover_the_history(house: TestHouse, events: list[NewEvent]) -> None:
    """Page after page, in both directions, every event comes once and in order."""
    expected = numbers(in_order(events, 1))

    def work(store: Store) -> None:
        for limit in (1, 3, 1000):
            found: list[int] = []
            start = Place(10**9)
            while page := store.history.page_backwards(1, start, Place(0), limit):
                assert len(page) <= limit
                found += numbers(page)
                assert page[-1].anchor is not None
                start = Place(page[-1].anchor, page[-1].rank - 1)
            assert found == expected[::-1]
            found, start = [], Place(0)
            while page := store.history.page_forwards(1, start, Place(10**9), limit):
                found += numbers(page)
                assert page[-1].anchor is not None
                start = Place(page[-1].anchor, page[-1].rank)
            assert found == expected

    await house.database.read(work)


async def test_pages_end_where_they_are_told(house: TestHouse, events: list[NewEvent]) -> None:
    """The bounds of a page are those of the order, whatever lies between two events."""
    ordered = in_order(events, 2)
    dice = random.Random(5)

    def work(store: Store) -> None:
        for _ in range(20):
            low = Place(dice.randrange(995, 1065), dice.choice([-2, -1, 0, RANK_END]))
            high = Place(dice.randrange(995, 1065), dice.choice([-2, -1, 0, RANK_END]))
            between = numbers([row for row in ordered if low < place(row) <= high])
            assert numbers(store.history.page_forwards(2, low, high, 1000)) == between
            assert numbers(store.history.page_backwards(2, high, low, 1000)) == between[::-1]

    await house.database.read(work)


async def test_syncs_see_live_events_only(house: TestHouse, events: list[NewEvent]) -> None:
    """The newest live events of one room, and of many rooms each from its own place."""
    live = {room: [row for row in in_order(events, room) if row.live] for room in (1, 2, 3)}

    def between(room: int, after: int, upto: int) -> list[int]:
        return numbers([row for row in live[room] if after < (row.anchor or 0) <= upto])[::-1]

    def work(store: Store) -> None:
        assert numbers(store.history.list_live(1, 1010, 1050, 1000)) == between(1, 1010, 1050)
        assert numbers(store.history.list_live(1, 1010, 1050, 4)) == between(1, 1010, 1050)[:4]
        ranges = {1: (1030, 1055), 2: (1005, 1050), 3: (0, 1055)}
        for limit in (5, 1000):
            found = store.history.list_live_in_rooms(ranges, limit)
            expected = {room: between(room, *bounds)[:limit] for room, bounds in ranges.items()}
            assert {room: numbers(rows) for room, rows in found.items()} == expected
        assert store.history.list_live_in_rooms({}, 5) == {}
        assert store.history.rooms_with_events_after([], 0) == set()

    await house.database.read(work)


async def test_followers_read_all_rooms_by_position(house: TestHouse, events: list[NewEvent]) -> None:
    """The stream: live events of every room in the order of their positions, batch after batch."""
    stream = EventStream(house.database)
    expected = sorted(row.position for row in events if row.live and row.position is not None)
    found: list[int] = []
    after = 0
    while batch := await stream.list_batch(after, 1058, 7):
        assert len(batch) <= 7
        assert all(position == row.position for position, row in batch)
        found += [position for position, _ in batch]
        after = found[-1]

    assert found == [position for position in expected if position <= 1058]


async def test_cursors_are_kept(house: TestHouse) -> None:
    """A follower's cursor is what was saved last under its name."""
    stream = EventStream(house.database)
    assert await stream.find_cursor("push") is None
    await stream.save_cursor("push", 5)
    await stream.save_cursor("search", 3)
    await stream.save_cursor("push", 9)

    assert [await stream.find_cursor(name) for name in ("push", "search", "federation")] == [9, 3, None]
