"""Assembles the rate limits of clients, and puts the one for other servers' rooms before what enters them."""

from dataclasses import dataclass, replace

from clients.limited_rooms import LimitedRooms
from clients.limits import Limits
from config.compose.house import Abroad
from config.settings import LimitSettings
from homeserver.ports import Clock
from homeserver.services.accounts.user_limits import UserLimits
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Limiting:
    """`users` are to be loaded before the first request."""

    limits: Limits
    users: UserLimits

    def before(self, abroad: Abroad) -> Abroad:
        """The same, limited."""
        return replace(abroad, rooms=LimitedRooms(abroad.rooms, self.limits))


def build_limits(settings: LimitSettings, database: Database, clock: Clock) -> Limiting:
    users = UserLimits(database)
    return Limiting(Limits(clock, settings.overrides, settings.enabled, users), users)
