"""A sync that waits without a task: for a client that is live already, and stays so.

It is answered from memory as soon as anything was published that concerns its client, and when its time is up. What
memory cannot tell it gives back untouched: then the sync is asked the long way, which begins where this one began.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from homeserver.services.sync.delta import NotInMemory
from homeserver.services.sync.live import View

# A timer that rings a little early shall not make a sync wait once more.
_SLACK = 0.001


class Ears(Protocol):
    """The sync service, as far as such a sync asks it."""

    @property
    def is_stopping(self) -> bool: ...

    def soon(self, look: Callable[[], None]) -> None:
        """Calls `look` in one of the next turns of the loop."""
        ...

    def look(self, view: View, state_key: str) -> bytes | None:
        """The answer, if there is anything to tell. Raises NotInMemory."""
        ...

    def nothing(self, view: View, state_key: str) -> bytes:
        """The answer if there was nothing when it was looked last."""
        ...


class Hearing:
    """Lives on the loop. It has the View for itself until it ends."""

    __slots__ = ("_deadline", "_ears", "_ended", "_state_key", "_tell", "_view")

    def __init__(
        self,
        ears: Ears,
        view: View,
        state_key: str,
        timeout: float,
        tell: Callable[[bytes | None], None],
        ended: Callable[[], None],
    ) -> None:
        """`timeout` in seconds. `tell` is called once: with the answer, or with None if memory cannot tell it; before
        it, and also if it is ended by others, `ended`."""
        self._ears = ears
        self._view: View | None = view
        self._state_key = state_key
        self._deadline = monotonic() + timeout
        self._tell = tell
        self._ended = ended

    @property
    def left(self) -> float:
        """Seconds that are left of its time."""
        return self._deadline - monotonic()

    def look(self) -> None:
        """Tells what there is to tell, or goes on waiting."""
        view = self._view
        if view is None:
            return
        try:
            answer = self._ears.look(view, self._state_key)
            if answer is None:
                if self.left > _SLACK and not self._ears.is_stopping and not view.ended:
                    self._wait(view)
                    return
                answer = self._ears.nothing(view, self._state_key)
        except NotInMemory:
            answer = None
        except BaseException:
            # Unforeseen: the long way meets it too, where somebody is told of it.
            self.end()
            self._tell(None)
            raise
        self.end()
        self._tell(answer)

    def end(self) -> None:
        """Nothing is told any more."""
        view, self._view = self._view, None
        if view is not None:
            view.watcher.listener = view.on_time = None
            self._ended()

    def _wait(self, view: View) -> None:
        view.watcher.listener = self._stirred
        view.on_time = self.look
        # Most are answered long before their time is up: the timer stays with the View, and is seldom moved.
        if view.timer is None or view.timer_at > self._deadline:
            if view.timer is not None:
                view.timer.cancel()
            view.timer_at = self._deadline
            view.timer = asyncio.get_running_loop().call_later(self.left, view.ring)

    def _stirred(self) -> None:
        self._ears.soon(self.look)
