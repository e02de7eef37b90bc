"""Closing an account for good. Its name stays taken.

https://spec.matrix.org/v1.19/client-server-api/#account-deactivation
"""

from homeserver.domain.errors import Forbidden
from homeserver.ports import Clock
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.interactive import Authorized, settle
from homeserver.services.accounts.profile import RoomProfiles
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store


class Deactivation:
    def __init__(self, database: Persistence, devices: Devices, clock: Clock, rooms: RoomProfiles) -> None:
        self._database = database
        self._devices = devices
        self._clock = clock
        self._rooms = rooms

    async def deactivate(self, user_id: str, authorized: Authorized, *, erase: bool) -> None:
        """Nobody can log in as this user again; with `erase` profile and account data go too. Raises Forbidden."""

        def work(store: Store) -> None:
            user = store.users.lock(user_id)
            if user is None or user.deactivated:
                raise Forbidden("This account has been deactivated", "M_USER_DEACTIVATED")
            settle(store, authorized, self._clock.now_ms())
            store.users.set_deactivated(user_id)
            self._devices.remove_all(store, user_id)
            if erase:
                store.profiles.remove_all(user_id)
                store.account_data.remove_all(user_id)

        await self._database.write(work)
        if erase:
            await self._rooms.profile_changed(user_id)
