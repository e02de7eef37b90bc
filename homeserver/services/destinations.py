"""Servers that do not answer, kept over restarts: so that a restart does not begin by asking all of them.

Not here: when to try again (`domain.outage`), and who tries (`federation.backoff`).
"""

from homeserver.domain.outage import Outage
from homeserver.ports import Clock
from homeserver.services.persistence import Persistence

# A server that nobody wanted to reach for so long is forgotten.
FORGET_MS = 30 * 24 * 3_600_000


class Destinations:
    def __init__(self, database: Persistence, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, server_name: str) -> Outage | None:
        """None: it answers, as far as we know."""
        return await self._database.read(lambda store: store.destinations.find(server_name), single=True)

    async def keep(self, server_name: str, outage: Outage | None) -> None:
        """`outage` is what is known now; None: it answers."""
        if outage is None:
            await self._database.write(lambda store: store.destinations.remove(server_name))
        else:
            await self._database.write(lambda store: store.destinations.set(server_name, outage))

    async def forget(self) -> None:
        """Removes what nobody wants to know any more; called from time to time."""
        before = self._clock.now_ms() - FORGET_MS
        await self._database.write(lambda store: store.destinations.remove_forgotten(before))
