"""The one place where anything waits.

A watcher is registered under keys and is told which of them were touched; it may be waited on. Live syncs keep their
watcher between requests, so that a sync looks only at what changed for it.
"""

import asyncio
from collections.abc import Callable, Iterable


class Watcher:
    """Remembers which of its keys were touched: whoever has read what lies under a key takes it out of `dirty`.

    `stirred` says that something was touched since it was last set to False. At most one task waits; without a task,
    `listener` is called once, at the next touch, and must be quick.
    """

    __slots__ = ("_waiter", "dirty", "keys", "listener", "stirred")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.dirty: set[str] = set()
        self.stirred = False
        self.listener: Callable[[], None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def touch(self, key: str) -> None:
        self.dirty.add(key)
        self.wake()

    def wake(self) -> None:
        self.stirred = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        listener, self.listener = self.listener, None
        if listener is not None:
            listener()

    async def wait(self, timeout: float) -> bool:
        """True as soon as a key is touched (or `wake` is called), also if that was before; False after `timeout` s."""
        if self.stirred:
            return True
        if timeout <= 0:
            return False
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(timeout, _expire, waiter)
        try:
            await waiter
            return True
        except TimeoutError:
            return False
        finally:
            timer.cancel()
            if self._waiter is waiter:
                self._waiter = None


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class Notifier:
    """Not thread-safe: lives on the loop."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}

    def watch(self, watcher: Watcher, keys: Iterable[str]) -> None:
        for key in keys:
            watcher.keys.add(key)
            self._watchers.setdefault(key, set()).add(watcher)

    def unwatch(self, watcher: Watcher, keys: Iterable[str] | None = None) -> None:
        """Of some keys, or of all."""
        for key in list(watcher.keys if keys is None else keys):
            watcher.keys.discard(key)
            watchers = self._watchers.get(key)
            if watchers is not None:
                watchers.discard(watcher)
                if not watchers:
                    del self._watchers[key]

    def touch(self, keys: Iterable[str]) -> None:
        for key in keys:
            for watcher in self._watchers.get(key, ()):
                watcher.touch(key)

    def wake_all(self) -> None:
        """Every waiting watcher wakes with nothing touched: the server stops."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.wake()

    async def wait(self, keys: Iterable[str], timeout: float) -> bool:
        """Waits for one of `keys` once. True if one was touched within `timeout` seconds."""
        watcher = Watcher()
        self.watch(watcher, keys)
        try:
            return await watcher.wait(timeout)
        finally:
            self.unwatch(watcher)
