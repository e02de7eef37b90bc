"""Waiting: whoever waits is woken by what was touched, before or meanwhile, and leaves nothing behind."""

import asyncio

import pytest

from homeserver.streams.notifier import Notifier, Watcher


async def waiting(watcher: Watcher, timeout: float = 20) -> asyncio.Task[bool]:
    """A task that waits already."""
    task = asyncio.create_task(watcher.wait(timeout))
    await asyncio.sleep(0)
    return task


async def test_touched_while_waiting() -> None:
    """All watchers of a key wake and know which key it was; those of other keys sleep on."""
    notifier, watchers = Notifier(), [Watcher() for _ in range(3)]
    notifier.watch(watchers[0], ["a", "b"])
    notifier.watch(watchers[1], ["b"])
    notifier.watch(watchers[2], ["c"])
    tasks = [await waiting(watcher) for watcher in watchers]
    notifier.touch(["b", "nobody's"])

    assert await tasks[0]
    assert await tasks[1]
    assert not tasks[2].done()
    assert [watcher.dirty for watcher in watchers] == [{"b"}, {"b"}, set()]
    tasks[2].cancel()


async def test_touched_before_waiting() -> None:
    """What was touched since `stirred` was set to False is not slept over."""
    notifier, watcher = Notifier(), Watcher()
    notifier.watch(watcher, ["a"])
    notifier.touch(["a"])

    assert await watcher.wait(20)
    assert await watcher.wait(0)
    watcher.stirred = False
    assert not await watcher.wait(0)
    assert watcher.dirty == {"a"}


async def test_time_is_up() -> None:
    """Without a touch the wait ends by itself."""
    watcher = Watcher()

    assert not await watcher.wait(0.01)
    assert not await watcher.wait(-1)
    watcher.wake()
    assert await watcher.wait(0.01)


async def test_unwatched_keys_are_silent() -> None:
    """Keys are given up one by one or all at once."""
    notifier, watcher = Notifier(), Watcher()
    notifier.watch(watcher, ["a", "b", "c"])
    notifier.watch(watcher, ["a"])
    notifier.unwatch(watcher, ["a", "never"])
    notifier.touch(["a"])
    assert not watcher.stirred
    assert watcher.keys == {"b", "c"}
    notifier.unwatch(watcher)
    notifier.touch(["b", "c"])

    assert not watcher.stirred
    assert watcher.keys == set()


async def test_everybody_wakes_at_the_end() -> None:
    """When the server stops, who waits is woken with nothing touched."""
    notifier, watcher = Notifier(), Watcher()
    notifier.watch(watcher, ["a"])
    task = await waiting(watcher)
    notifier.wake_all()

    assert await task
    assert watcher.dirty == set()


async def test_waiting_once() -> None:
    """`Notifier.wait` wakes for one of its keys, or says that none was touched."""
    notifier = Notifier()
    task = asyncio.create_task(notifier.wait(["a", "b"], 20))
    await asyncio.sleep(0)
    notifier.touch(["b"])

    assert await task
    assert not await notifier.wait(["a"], 0.01)


async def test_cancelled_waiters_are_forgotten() -> None:
    """A wait that is cancelled leaves the watcher fit for the next one."""
    notifier, watcher = Notifier(), Watcher()
    notifier.watch(watcher, ["a"])
    task = await waiting(watcher)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    task = await waiting(watcher)
    notifier.touch(["a"])

    assert await task
    once = asyncio.create_task(notifier.wait(["b"], 20))
    await asyncio.sleep(0)
    once.cancel()
    with pytest.raises(asyncio.CancelledError):
        await once
    notifier.touch(["b"])
