"""Rate limits that the operator gave to single users in place of the table's: wider, narrower, or none.

They are durable, and all of them stand in memory, because every request asks for them: `load` them before the first
one. Each has its own bucket, which is full when it is set. Which limits there are is the door's business
(`clients.limits`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.domain.errors import BadRequest, NotFound
from homeserver.domain.throttle import Throttle, Throttles
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

MAX_USERS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_second`."""

    per_second: float
    burst: int


# By name of the limit; None: no limit.
Rates = Mapping[str, Rate | None]


class UserLimits:
    def __init__(self, database: Persistence, max_users: int = MAX_USERS) -> None:
        self._database = database
        self._max_users = max_users
        self._rates: dict[str, Rates] = {}
        self._buckets: dict[str, Mapping[str, Throttles | None]] = {}
        # Memory changes in the order in which the table does.
        self._setting = asyncio.Lock()

    async def load(self) -> None:
        """Reads all of them."""
        rows = await self._database.read(lambda store: store.user_limits.list_all())
        rates: dict[str, dict[str, Rate | None]] = {}
        for row in rows:
            rates.setdefault(row.user_id, {})[row.name] = None if row.rate is None else Rate(*row.rate)
        for user_id, of_user in rates.items():
            self._remember(user_id, of_user)

    def of(self, user_id: str) -> Mapping[str, Throttles | None] | None:
        """The buckets of a user, by name of the limit; None as a value: no limit. None for nearly everybody."""
        return self._buckets.get(user_id)

    async def find(self, user_id: str) -> Rates:
        """What was set. Raises NotFound for a user who is not of this server."""
        await self._database.read(lambda store: _check_user(store, user_id))
        return self._rates.get(user_id, {})

    async def set(self, user_id: str, rates: Rates) -> None:
        """From now on, and in place of all that was set before; with none, the user is as others are.

        Raises NotFound for a user who is not of this server, BadRequest if too many users have limits of their own.
        """

        def work(store: Store) -> None:
            _check_user(store, user_id)
            rows = {name: None if rate is None else (rate.per_second, rate.burst) for name, rate in rates.items()}
            store.user_limits.put(user_id, rows)

        async with self._setting:
            if rates and user_id not in self._rates and len(self._rates) >= self._max_users:
                raise BadRequest("Too many users have limits of their own: change the table for all instead")
            await self._database.write(work)
            self._remember(user_id, rates)

    def _remember(self, user_id: str, rates: Rates) -> None:
        if not rates:
            self._rates.pop(user_id, None)
            self._buckets.pop(user_id, None)
            return
        self._rates[user_id] = rates
        self._buckets[user_id] = {
            name: None if rate is None else Throttles(Throttle(rate.per_second, rate.burst), 1)
            for name, rate in rates.items()
        }


def _check_user(store: Store, user_id: str) -> None:
    if store.users.find(user_id) is None:
        raise NotFound("There is no such user on this server")
