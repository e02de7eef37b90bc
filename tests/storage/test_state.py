"""State groups, interned keys and the current state, on the real tables."""

import asyncio
import random
import threading

import pytest
from sqlalchemy import Engine, text

from homeserver.domain.errors import Forbidden
from homeserver.domain.event import StateKey
from homeserver.storage.packing import MAX_LAYERS
from homeserver.storage.state import State
from homeserver.storage.store import Caches, Store
from tests.builders.house import TestHouse
from tests.storage.journal import wait_for_a_lock

ROOM = 5
A, B, C = ("m.room.name", ""), ("m.room.member", "@a:test.example"), ("m.room.member", "@ö\U0001f600 '\"\\:x")


def stored_keys(engine: Engine) -> dict[StateKey, int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT type, state_key, number FROM state_keys"))
        return {(type, state_key): number for type, state_key, number in rows}


async def intern(house: TestHouse, *keys: StateKey) -> dict[StateKey, int]:
    return await house.database.write(lambda store: store.state.intern_keys(keys))


async def test_keys_are_interned_once(house: TestHouse, engine: Engine) -> None:
    """A key has one number for ever, whoever asks, in whatever order and company."""
    first = await intern(house, A, B)
    second = await intern(house, C, B, A)

    assert {**first, **second} == second == stored_keys(engine)
    assert await house.database.read(lambda store: store.state.number_keys([C, ("no", "such")])) == {C: second[C]}
    assert await house.database.read(lambda store: store.state.name_keys([second[C], 0])) == {second[C]: C}


async def test_rolled_back_keys_are_forgotten(house: TestHouse, engine: Engine) -> None:
    """A number that a transaction gave and took back is never used by another."""

    def fail(store: Store) -> None:
        mine = store.state.intern_keys([A, B])
        assert store.state.number_keys([A, B]) == mine
        assert store.state.intern_keys([B, C]).keys() == {B, C}
        raise Forbidden("no")

    for _ in range(3):
        with pytest.raises(Forbidden):
            await house.database.write(fail)
        assert await house.database.read(lambda store: store.state.number_keys([A, B, C])) == {}
    assert await intern(house, A, B, C) == stored_keys(engine)


async def test_many_intern_the_same_keys(house: TestHouse, engine: Engine) -> None:
    """Concurrent writers, half of which fail, agree on the numbers of the keys that they share."""
    dice = random.Random(1)
    keys = [("m.room.member", f"@u{number}:test.example") for number in range(12)]

    async def one(number: int) -> dict[StateKey, int]:
        wanted = dice.sample(keys, 4)

        def work(store: Store) -> dict[StateKey, int]:
            found = {key: store.state.intern_keys([key])[key] for key in wanted}
            if number % 2:
                raise Forbidden("no")
            return found

        try:
            return await house.database.write(work)
        except Forbidden:
            return {}

    answers = await asyncio.gather(*(one(number) for number in range(40)))
    stored = stored_keys(engine)
    for answer in answers:
        assert answer.items() <= stored.items()
    known = await house.database.read(lambda store: store.state.number_keys(keys))
    assert known == stored


async def test_key_that_another_is_about_to_take_back(house: TestHouse, engine: Engine) -> None:
    """A writer waits for the one that is interning the same key, and makes it itself if that one fails."""
    begun, go_on = threading.Event(), threading.Event()

    def fail(store: Store) -> None:
        store.state.intern_keys([A])
        begun.set()
        assert go_on.wait(20)
        raise Forbidden("no")

    failing = asyncio.create_task(house.database.write(fail))
    assert await asyncio.to_thread(begun.wait, 20)
    waiting = asyncio.create_task(intern(house, A))
    await asyncio.to_thread(wait_for_a_lock, engine)
    go_on.set()
    with pytest.raises(Forbidden):
        await failing

    assert await waiting == stored_keys(engine)


async def test_groups_say_what_a_dict_says(house: TestHouse) -> None:
    """Random changes on random groups: every group reads as its dict, from the cache and from the tables alone."""
    dice = random.Random(2)
    groups: dict[int, dict[int, int]] = {0: {}}

    def grow(store: Store) -> None:
        for _ in range(120):
            base = dice.choice(list(groups))
            changes = {dice.randrange(1, 60): dice.randrange(9) for _ in range(dice.randrange(1, 12))}
            number = store.take_number()
            store.state.add_group(number, ROOM, base, changes)
            groups[number] = {key: event for key, event in {**groups[base], **changes}.items() if event}

    await house.database.write(grow)

    def compare(store: Store) -> None:
        fresh = Caches()
        for state in (store.state, State(store.transaction, fresh.groups, fresh.keys)):
            for number, expected in groups.items():
                assert state.get_group(number) == expected
                assert all(state.find_in_group(number, key) == expected.get(key) for key in range(1, 60))
                assert len(state.layers(number)) <= MAX_LAYERS
        cold = Caches()
        loaded = State(store.transaction, cold.groups, cold.keys)
        loaded.load_groups(groups)
        before = store.statements
        assert {number: loaded.get_group(number) for number in groups} == groups
        assert store.statements == before

    await house.database.read(compare)


async def test_current_state_and_its_past(house: TestHouse) -> None:
    """Current rows and the journal of changes together tell the state as of every position."""
    dice = random.Random(3)
    keys = list((await intern(house, *(("m.test", str(number)) for number in range(8)))).values())
    history: list[tuple[int, dict[int, int]]] = [(0, {})]

    def change(store: Store) -> None:
        state = dict(history[-1][1])
        key = dice.choice(keys)
        before, after = state.get(key), dice.choice([None, dice.randrange(1, 10**12)])
        if before == after:
            return
        position = store.take_position()
        store.state.change_current(ROOM, 0, position, [(key, before, after)])
        if after is None:
            state.pop(key)
        else:
            state[key] = after
        history.append((position, state))

    for _ in range(60):
        await house.database.write(change)

    def compare(store: Store) -> None:
        for index, (position, state) in enumerate(history):
            assert store.state.as_of(ROOM, 0, position) == state
            later, now = history[dice.randrange(index, len(history))]
            changes = store.state.list_changes({ROOM: (position, later)})[ROOM]
            changed = {one.key: (one.before, one.after) for one in changes if one.before != one.after}
            differing = {key for key in keys if state.get(key) != now.get(key)}
            assert changed == {key: (state.get(key), now.get(key)) for key in differing}
        names = [("m.test", str(number)) for number in range(8)]
        numbers = store.state.number_keys(names)
        found = store.state.find_current(ROOM, 0, [*names, ("m.none", "")])
        assert {numbers[key]: event for key, event in found.items()} == history[-1][1]
        changes = store.state.list_changes({ROOM: (history[1][0], history[-1][0])})[ROOM]
        assert {one.name for one in changes} <= set(names)
        assert store.state.list_changes({ROOM: (history[-1][0], history[-1][0])}) == {ROOM: []}

    await house.database.read(compare)


async def test_merges_are_remembered(house: TestHouse) -> None:
    """The result of a resolution is found by the set of its groups, in any order; the first one stays."""

    def work(store: Store) -> list[int | None]:
        store.state.add_merge([3, 1, 2], 9)
        store.state.add_merge([1, 2, 3], 10)
        return [store.state.find_merge(parents) for parents in ([2, 3, 1], [1, 2], [])]

    assert await house.database.write(work) == [9, None, None]
