"""When each device was last seen, and from where: noted in memory on every request, written whenever `flush`
is called.

What was noted and not yet written is lost with the process: it is information for people, not for decisions.
"""

from homeserver.services.persistence import Persistence
from homeserver.storage.devices import Sighting

# Devices between two writes. Beyond it some are not noted.
MAX_NOTED = 100_000
BATCH = 1_000


class LastSeen:
    def __init__(self, database: Persistence) -> None:
        self._database = database
        self._noted: dict[tuple[str, str], tuple[int, str]] = {}

    def note(self, user_id: str, device_id: str, ts: int, address: str) -> None:
        """It is here now."""
        device = (user_id, device_id)
        if device in self._noted or len(self._noted) < MAX_NOTED:
            self._noted[device] = (ts, address)

    async def flush(self) -> None:
        """Writes what was noted; what cannot be written now is kept for the next time."""
        while self._noted:
            # Always in the order of devices: two writers that lock the same rows never wait for each other.
            devices = sorted(self._noted)[:BATCH]
            await self._write([Sighting(*device, *self._noted.pop(device)) for device in devices])

    async def _write(self, sightings: list[Sighting]) -> None:
        try:
            await self._database.write(lambda store: store.devices.set_seen(sightings))
        except BaseException:
            for seen in sightings:
                self._noted.setdefault((seen.user_id, seen.device_id), (seen.ts, seen.address))
            raise
