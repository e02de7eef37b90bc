"""What look-ups brought, remembered by name: the answers for as long as they say, failures for a while that doubles.

Look-ups of one name at once are one, and it goes on if the caller who began it goes away: the next one will want it.
All together are bounded in number. Names that were used last are remembered. Not here: what is looked up (`lookups`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from federation.lanes import TooManyWaiting
from homeserver.domain.errors import RemoteUnreachable

T = TypeVar("T")

MAX_NAMES = 10_000
AT_ONCE = 32
MAX_WAITING = 1_000
# "Errors are recommended to be cached for up to an hour, and servers are encouraged to exponentially back off".
FIRST_FAILURE_SECONDS, LAST_FAILURE_SECONDS = 60.0, 3600.0
# What is younger than this is not looked up again because it is suspected.
SUSPECT_SECONDS = 300.0

# Looks up: the value, and for how many seconds it counts. Raises RemoteUnreachable, and ends by itself.
Lookup = Callable[[], Awaitable[tuple[T, float]]]


class Gate:
    """How many look-ups run at once; as many more may wait as `max_waiting` says."""

    def __init__(self, at_once: int = AT_ONCE, max_waiting: int = MAX_WAITING) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._max_waiting = max_waiting
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= self._max_waiting:
            raise TooManyWaiting("too many look-ups of names wait already")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._places.release()


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    """`value` counts until `fresh_until`, and until `usable_until` if a new look-up fails; times of the elapsed clock.
    `failures`: how many look-ups failed in a row."""

    value: T
    begun: float
    fresh_until: float
    usable_until: float
    failures: int = 0


class Memory(Generic[T]):
    """`absent` is the value of a name whose look-up failed. `stale_seconds`: how long at most a value counts on, from
    its look-up, while new look-ups fail. `elapsed`: seconds of a clock that never jumps."""

    def __init__(
        self,
        absent: T,
        gate: Gate,
        elapsed: Callable[[], float],
        *,
        stale_seconds: float = 0.0,
        max_names: int = MAX_NAMES,
    ) -> None:
        self._absent = absent
        self._gate = gate
        self._elapsed = elapsed
        self._stale_seconds = stale_seconds
        self._max_names = max_names
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, name: str, look_up: Lookup[T]) -> T:
        """The value of a name. Raises TooManyWaiting only if too many look-ups wait."""
        entry = self._entries.get(name)
        if entry is not None and self._elapsed() < entry.fresh_until:
            self._entries.move_to_end(name)
            return entry.value
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look_up(name, look_up))
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name))
        return await asyncio.shield(task)

    def known(self, name: str) -> T:
        """The value that is remembered, whether it counts still or not."""
        entry = self._entries.get(name)
        return self._absent if entry is None else entry.value

    def suspect(self, name: str) -> None:
        """The value may not be right any more: the next `get` looks it up again, unless it is quite new."""
        entry, now = self._entries.get(name), self._elapsed()
        if entry is not None and not entry.failures and now >= entry.begun + SUSPECT_SECONDS:
            self._entries[name] = replace(entry, fresh_until=now)

    async def stop(self) -> None:
        """Ends the look-ups that are under way."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self, name: str, look_up: Lookup[T]) -> T:
        async with self._gate:
            begun = self._elapsed()
            try:
                value, seconds = await look_up()
            except RemoteUnreachable:
                entry = self._failed(self._entries.get(name))
            else:
                entry = _Entry(value, begun, begun + seconds, begun + max(seconds, self._stale_seconds))
        self._entries[name] = entry
        self._entries.move_to_end(name)
        if len(self._entries) > self._max_names:
            self._entries.popitem(last=False)
        return entry.value

    def _failed(self, former: _Entry[T] | None) -> _Entry[T]:
        now = self._elapsed()
        failures = 0 if former is None else former.failures
        pause = min(FIRST_FAILURE_SECONDS * 2.0 ** min(failures, 16), LAST_FAILURE_SECONDS)
        if former is not None and now < former.usable_until:
            until = min(now + pause, former.usable_until)
            return replace(former, fresh_until=until, failures=failures + 1)
        return _Entry(self._absent, now, now + pause, now, failures + 1)
