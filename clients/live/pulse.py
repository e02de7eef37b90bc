"""Whether the client is still there, and whether it takes what it is sent.

When nothing was sent for a while: a heartbeat, which code in browsers sees and proxies count as traffic, and a ping
that must be answered. While bytes wait to be written neither makes sense; then it is looked whether any are accepted.
"""

import asyncio
from typing import Protocol

from clients.live import frames
from clients.live.bounds import Bounds
from clients.live.bridge import Bridge
from clients.live.deadlines import Deadlines

HEARTBEAT, PONG, STALL = "heartbeat", "pong", "stall"
_LOOKS = 4

_HEARTBEAT = frames.frame(hb=1)


class Patient(Protocol):
    """The socket that is watched."""

    def stalled(self) -> None:
        """Much waits, and nothing of it was accepted for too long."""
        ...

    def silent(self) -> None:
        """A ping was not answered."""
        ...


class Pulse:
    __slots__ = ("_accepted", "_bounds", "_bridge", "_deadlines", "_moved_at", "_patient", "_pings")

    def __init__(self, bounds: Bounds, bridge: Bridge, deadlines: Deadlines, patient: Patient) -> None:
        self._bounds = bounds
        self._bridge = bridge
        self._deadlines = deadlines
        self._patient = patient
        self._pings = 0
        self._accepted = 0
        self._moved_at = 0.0

    def sent(self) -> None:
        """A message was: the next heartbeat can wait."""
        self._deadlines.set(HEARTBEAT, self._bounds.heartbeat)

    def ping(self) -> int:
        """Sends a ping, which must be answered; its number."""
        self._pings += 1
        self._bridge.ping(self._pings.to_bytes(8))
        if not self._deadlines.has(PONG):
            self._deadlines.set(PONG, self._bounds.pong)
        return self._pings

    def ponged(self, payload: bytes) -> int | None:
        """The number of the ping that it answers, and with it all before; None if there was none."""
        number = int.from_bytes(payload) if len(payload) == 8 else 0
        if not 0 < number <= self._pings:
            return None
        if number == self._pings:
            self._deadlines.clear(PONG)
        else:
            self._deadlines.set(PONG, self._bounds.pong)
        return number

    def blocked(self) -> None:
        """Bytes wait from now on."""
        self._accepted, self._moved_at = self._bridge.accepted, asyncio.get_running_loop().time()
        self._deadlines.set(STALL, self._bounds.stall / _LOOKS)

    def unblocked(self) -> None:
        self._deadlines.clear(STALL)

    def due(self, name: str) -> None:
        """One of its own deadlines is."""
        if name == STALL:
            self._look()
        elif not self._bridge.is_idle:
            self._deadlines.set(name, self._bounds.heartbeat if name == HEARTBEAT else self._bounds.pong)
        elif name == HEARTBEAT:
            self._bridge.send(_HEARTBEAT)
            self.sent()
            self.ping()
        else:
            self._patient.silent()

    def _look(self) -> None:
        """Has it accepted anything lately?"""
        now, accepted = asyncio.get_running_loop().time(), self._bridge.accepted
        if accepted != self._accepted:
            self._accepted, self._moved_at = accepted, now
        if now - self._moved_at >= self._bounds.stall and self._bridge.waiting >= self._bounds.stalled_bytes:
            self._patient.stalled()
        else:
            self._deadlines.set(STALL, self._bounds.stall / _LOOKS)
