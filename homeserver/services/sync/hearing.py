"""A sync that waits without a task: for a client that is live already, and stays so.

It is answered from memory as soon as anything was published that concerns its client, and when its time is up. What
memory cannot tell it gives back untouched: then the sync is asked the long way, which begins where this one began.
A client that asks again and again may keep it from one sync to the next.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from homeserver.domain.presence import Device
from homeserver.services.sync.delta import NotInMemory
from homeserver.services.sync.live import View
from homeserver.services.sync.request import SyncRequest

# A timer that rings a little early shall not make a sync wait once more.
_SLACK = 0.001

# Is told the answer, or None if memory cannot tell it, and after how many seconds.
Tell = Callable[[bytes | None, float], None]


class Ears(Protocol):
    """The sync service, as far as such a sync asks it."""

    @property
    def is_stopping(self) -> bool: ...

    def arrive(self, request: SyncRequest, before: Device | None) -> Device | None:
        """A sync begins to wait. Give what it returns to `leave`, and to the next one as `before`."""
        ...

    def leave(self, view: View, device: Device | None) -> None:
        """It does no more, and others may have the View."""
        ...

    @property
    def soon(self) -> Callable[[Callable[[], None]], None]:
        """Calls what it is given in one of the next turns of the loop."""
        ...

    def look(self, view: View, state_key: str) -> bytes | None:
        """The answer, if there is anything to tell. Raises NotInMemory."""
        ...

    def nothing(self, view: View, state_key: str) -> bytes:
        """The answer if there was nothing when it was looked last."""
        ...


class Hearing:
    """Lives on the loop. While it waits it has the View for itself."""

    __slots__ = ("_began", "_device", "_ears", "_is_waiting", "_request", "_state_key", "_tell", "_view")

    def __init__(self, ears: Ears, view: View, request: SyncRequest, state_key: str, tell: Tell) -> None:
        """`tell` is called once for each time it waits, perhaps at once; not if it is ended by others."""
        self._ears = ears
        self._view = view
        self._request = request
        self._state_key = state_key
        self._tell = tell
        self._device: Device | None = None
        self._is_waiting = False
        self._began = 0.0

    @property
    def left(self) -> float:
        """Seconds that are left of its time."""
        return self._began + self._request.timeout - monotonic()

    def go_on(self, since: str) -> bool:
        """Waits for what comes after `since`, the token of the answer given last. False: it must be asked the long way,
        and this is of no use any more."""
        view = self._view
        if view.busy or not view.is_kept or not view.goes_on(since):
            return False
        view.busy = True
        self.begin()
        return True

    def begin(self) -> None:
        """Waits, with a View that nobody else has taken."""
        self._device = self._ears.arrive(self._request, self._device)
        self._is_waiting = True
        self._began = monotonic()
        self.look()

    def look(self) -> None:
        """Tells what there is to tell, or goes on waiting."""
        if not self._is_waiting:
            return
        ears, view = self._ears, self._view
        try:
            answer = ears.look(view, self._state_key)
            if answer is None:
                if self.left > _SLACK and not ears.is_stopping and not view.ended:
                    self._wait(view)
                    return
                answer = ears.nothing(view, self._state_key)
        except NotInMemory:
            answer = None
        except BaseException:
            # Unforeseen: the long way meets it too, where somebody is told of it.
            self.end()
            self._tell(None, 0.0)
            raise
        self.end()
        self._tell(answer, monotonic() - self._began)

    def end(self) -> None:
        """Nothing is told of this time any more."""
        if self._is_waiting:
            self._is_waiting = False
            view = self._view
            view.watcher.listener = view.on_time = None
            self._ears.leave(view, self._device)

    def _wait(self, view: View) -> None:
        view.watcher.listener = self._stirred
        view.on_time = self.look
        # Most are answered long before their time is up: the timer stays with the View, and is seldom moved.
        deadline = self._began + self._request.timeout
        if view.timer is None or view.timer_at > deadline:
            if view.timer is not None:
                view.timer.cancel()
            view.timer_at = deadline
            view.timer = asyncio.get_running_loop().call_later(self.left, view.ring)

    def _stirred(self) -> None:
        self._ears.soon(self.look)
