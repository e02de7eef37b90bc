"""Who is typing: told when it changes, and ended by the event loop's own timers."""

import asyncio

import pytest

from homeserver.domain.errors import Forbidden
from homeserver.services.messaging import typing as module
from homeserver.services.messaging.typing import Typing
from homeserver.streams.keys import room_key
from homeserver.streams.notifier import Watcher
from homeserver.streams.publications import TypingItem
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = 100.0
SOON = 0.01


def told(scene: Scene, room_id: str) -> list[tuple[str, ...]]:
    """What was published of the room, in order."""
    return [
        one.item.user_ids for one in scene.published if isinstance(one.item, TypingItem) and one.item.room_id == room_id
    ]


async def test_changes_are_told_once(scene: Scene) -> None:
    """Who begins and who stops; saying again what stands already is no news."""
    room_id = await scene.room(members=[BOB])
    number = (await scene.row(room_id)).number
    typing = scene.services.typing
    before = scene.built.positions.current()
    assert typing.changed(number, before, before) is None
    await typing.set(ALICE, room_id, 0)
    await typing.set(BOB, room_id, LONG)
    await typing.set(BOB, room_id, LONG)
    await typing.set(ALICE, room_id, LONG)
    await typing.set(BOB, room_id, 0)
    await typing.set(BOB, room_id, 0)
    assert told(scene, room_id) == [(BOB,), (ALICE, BOB), (ALICE,)]
    now = scene.built.positions.current()
    assert typing.changed(number, before, now) == (ALICE,)
    assert typing.changed(number, now, now) is None
    [*_, last] = [one for one in scene.published if isinstance(one.item, TypingItem)]
    assert last.keys == (room_key(number),) and last.position <= now
    await typing.set(ALICE, room_id, 0)


async def test_typing_ends_by_itself(scene: Scene) -> None:
    """When its time is up, whoever watches the room is told; each user has a time of their own."""
    room_id = await scene.room(members=[BOB])
    number = (await scene.row(room_id)).number
    watcher = Watcher()
    scene.built.notifier.watch(watcher, [room_key(number)])
    typing = scene.services.typing
    await typing.set(ALICE, room_id, LONG)
    await typing.set(BOB, room_id, SOON)
    while told(scene, room_id)[-1] != (ALICE,):
        watcher.stirred = False
        assert await watcher.wait(30)
    assert told(scene, room_id) == [(ALICE,), (ALICE, BOB), (ALICE,)]
    scene.built.notifier.unwatch(watcher)
    await typing.set(ALICE, room_id, 0)
    assert told(scene, room_id)[-1] == ()


async def test_typing_again_starts_the_time_anew(scene: Scene) -> None:
    """The old timer no longer ends it; stopping takes the timer away, so nothing is told later."""
    room_id = await scene.room(members=[BOB])
    number, typing = (await scene.row(room_id)).number, scene.services.typing
    typing.set_in_room(number, room_id, BOB, SOON)
    typing.set_in_room(number, room_id, BOB, LONG)
    ended = asyncio.Event()
    # A timer that was set later than the first one fires after it.
    asyncio.get_running_loop().call_later(2 * SOON, ended.set)
    await ended.wait()
    assert told(scene, room_id) == [(BOB,)]
    typing.set_in_room(number, room_id, BOB, SOON)
    typing.set_in_room(number, room_id, BOB, 0)
    ended.clear()
    asyncio.get_running_loop().call_later(2 * SOON, ended.set)
    await ended.wait()
    assert told(scene, room_id) == [(BOB,), ()]


async def test_nobody_types_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time beyond the bound is cut to it."""
    monkeypatch.setattr(module, "MAX_SECONDS", SOON)
    room_id = await scene.room()
    await scene.services.typing.set(ALICE, room_id, 1e9)
    number = (await scene.row(room_id)).number
    if told(scene, room_id) == [(ALICE,)]:
        assert await scene.built.notifier.wait([room_key(number)], 30)
    assert told(scene, room_id) == [(ALICE,), ()]


async def test_only_members_type(scene: Scene) -> None:
    """Left, invited and never there: 403, and nobody is told."""
    room_id = await scene.room(members=[BOB])
    await scene.services.membership.leave(BOB, room_id)
    await scene.services.membership.invite(ALICE, room_id, CAROL)
    for user_id in (BOB, CAROL, EVE):
        with pytest.raises(Forbidden):
            await scene.services.typing.set(user_id, room_id, LONG)
    with pytest.raises(Forbidden):
        await scene.services.typing.set(ALICE, "!unknown:test.example", LONG)
    assert told(scene, room_id) == []


async def test_room_holds_so_many(scene: Scene) -> None:
    """Beyond the bound nobody more is noted; whoever is noted can go on."""
    typing = Typing(scene.database, scene.built.positions, scene.built.publisher)
    users = [f"@t{n:03}:test.example" for n in range(module.MAX_PER_ROOM + 1)]
    for user_id in users:
        typing.set_in_room(7, "!bounded:test.example", user_id, LONG)
    typing.set_in_room(7, "!bounded:test.example", users[0], LONG)
    assert told(scene, "!bounded:test.example")[-1] == tuple(users[:-1])
    typing.set_in_room(7, "!bounded:test.example", users[0], 0)
    typing.set_in_room(7, "!bounded:test.example", users[-1], LONG)
    assert told(scene, "!bounded:test.example")[-1] == tuple(users[1:])
    typing.stop()


async def test_silent_rooms_are_forgotten_and_told_of_once_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are many rooms: a client that synced before hears that nobody types, one after it hears nothing."""
    monkeypatch.setattr(module, "MAX_ROOMS", 200)
    typing = Typing(scene.database, scene.built.positions, scene.built.publisher)
    before = scene.built.positions.current()
    typing.set_in_room(1, "!first:test.example", ALICE, LONG)
    typing.set_in_room(2, "!second:test.example", ALICE, LONG)
    typing.set_in_room(1, "!first:test.example", ALICE, 0)
    after = scene.built.positions.current()
    assert typing.changed(1, before, after) == ()
    for number in range(3, module.MAX_ROOMS + 2):
        typing.set_in_room(number, "!more:test.example", BOB, LONG)
        typing.set_in_room(number, "!more:test.example", BOB, 0)
    now = scene.built.positions.current()
    assert typing.changed(1, before, now) == ()
    assert typing.changed(1, now, now) is None
    assert typing.changed(2, before, now) == (ALICE,)
    typing.stop()


async def test_new_process_tells_of_silence_once(scene: Scene) -> None:
    """Whoever synced before it began may still see somebody typing."""
    room_id = await scene.room()
    number = (await scene.row(room_id)).number
    old = scene.built.positions.current()
    await scene.services.typing.set(ALICE, room_id, LONG)
    restarted = Typing(scene.database, scene.built.positions, scene.built.publisher)
    now = scene.built.positions.current()
    assert restarted.changed(number, old, now) == ()
    assert restarted.changed(number, now, now) is None
    await scene.services.typing.set(ALICE, room_id, 0)


async def test_next_process_is_told_of_silence(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an end in good order it knows since when rooms are silent; of all but the newest, since when at most."""
    monkeypatch.setattr(module, "MAX_SILENCES", 2)
    rooms = [await scene.room() for _ in range(4)]
    numbers = [(await scene.row(room_id)).number for room_id in rooms]
    typing = scene.services.typing
    for room_id in rooms[:3]:
        await typing.set(ALICE, room_id, LONG)
        await typing.set(ALICE, room_id, 0)
    oldest = scene.built.positions.current() - 4
    await typing.set(ALICE, rooms[1], LONG)
    seen = scene.built.positions.current()
    await typing.close()
    assert told(scene, rooms[1])[-1] == ()

    restarted = Typing(scene.database, scene.built.positions, scene.built.publisher)
    silent = await restarted.resume()
    now = scene.built.positions.current()
    assert {one.keys for one in silent} == {(f"r{number}",) for number in numbers[1:3]}
    assert restarted.lost_before == oldest
    assert [restarted.changed(number, oldest - 1, now) for number in numbers] == [(), (), (), ()]
    assert [restarted.changed(number, oldest, now) for number in numbers] == [None, (), (), None]
    assert [restarted.changed(number, seen, now) for number in numbers] == [None, (), None, None]
    assert await Typing(scene.database, scene.built.positions, scene.built.publisher).resume() == []
