"""Which servers are left alone for a while because they do not answer: one memory for all who call them.

Whoever calls a server asks `wait_ms` first and reports what came of it. An outage is kept over restarts, and looked up
when somebody first wants the server. `listen` tells when an outage ends, or when a server that was away asks something
of us, which is the moment to send what waits for it.

Not here: how long a pause is (`domain.outage`), and the calls themselves (`calls`).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from homeserver.domain.errors import Unavailable
from homeserver.domain.outage import Outage, after_failure, after_sign_of_life, wait_until
from homeserver.ports import Clock
from homeserver.telemetry.metrics import DESTINATIONS_DOWN

log = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000


class KeptOutages(Protocol):
    """`homeserver.services.destinations.Destinations` is one."""

    async def find(self, server_name: str) -> Outage | None: ...

    async def keep(self, server_name: str, outage: Outage | None) -> None: ...


class Backoff:
    """`chance()`: a random number from 0 to 1."""

    def __init__(self, kept: KeptOutages, clock: Clock, chance: Callable[[], float]) -> None:
        self._kept = kept
        self._clock = clock
        self._chance = chance
        # None: it answers. Servers that were wanted last.
        self._known: OrderedDict[str, Outage | None] = OrderedDict()
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, on_up: Callable[[str], None]) -> None:
        """`on_up(server_name)` is called, and must not take long, whenever a server that did not answer may do so."""
        self._listeners.append(on_up)

    async def wait_ms(self, server_name: str) -> int:
        """How long the server is left alone from now on; 0: it may be called."""
        outage = await self._find(server_name)
        if outage is None:
            return 0
        now = self._clock.now_ms()
        return max(0, wait_until(outage, now) - now)

    async def failed(self, server_name: str, begun_ms: int) -> None:
        """A call that began at `begun_ms` got no answer."""
        before = await self._find(server_name)
        after = after_failure(before, begun_ms, self._clock.now_ms(), self._chance())
        if after is not before:
            if before is None:
                log.info("%s does not answer", server_name)
            await self._change(server_name, after)

    async def succeeded(self, server_name: str) -> None:
        """A call was answered."""
        if self._known.get(server_name) is None:
            return
        log.info("%s answers again", server_name)
        await self._change(server_name, None)
        self._tell(server_name)

    async def sign_of_life(self, server_name: str) -> None:
        """The server called us, and proved who it is."""
        outage = await self._find(server_name)
        if outage is None:
            return
        sooner = after_sign_of_life(outage, self._clock.now_ms())
        if sooner != outage:
            await self._change(server_name, sooner)
            self._tell(server_name)

    async def _find(self, server_name: str) -> Outage | None:
        if server_name not in self._known:
            try:
                found = await self._kept.find(server_name)
            except Unavailable as error:
                log.warning("whether %s answers is not known: %s", server_name, error)
                return self._known.get(server_name)
            # What was learnt while the look-up was under way is newer.
            if server_name not in self._known:
                self._remember(server_name, found)
        self._known.move_to_end(server_name)
        return self._known[server_name]

    async def _change(self, server_name: str, outage: Outage | None) -> None:
        self._remember(server_name, outage)
        try:
            await self._kept.keep(server_name, outage)
        except Unavailable as error:
            log.warning("whether %s answers is not written down: %s", server_name, error)

    def _remember(self, server_name: str, outage: Outage | None) -> None:
        before = self._known.get(server_name)
        DESTINATIONS_DOWN.inc((outage is not None) - (before is not None))
        self._known[server_name] = outage
        self._known.move_to_end(server_name)
        if len(self._known) > MAX_REMEMBERED:
            _, dropped = self._known.popitem(last=False)
            DESTINATIONS_DOWN.dec(dropped is not None)

    def _tell(self, server_name: str) -> None:
        for listener in self._listeners:
            listener(server_name)
