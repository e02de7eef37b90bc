"""The services about users, assembled as `config` does it, over fakes where a test wants to hold something."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from clients.routes import Accounts
from homeserver.adapters.password_hashing import Argon2Hashing, PasswordCost
from homeserver.services.accounts.data import AccountData
from homeserver.services.accounts.deactivation import Deactivation
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.filters import Filters
from homeserver.services.accounts.guests import Guests
from homeserver.services.accounts.interactive import InteractiveAuthentication
from homeserver.services.accounts.last_seen import LastSeen
from homeserver.services.accounts.operator_secret import OperatorSecret
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.profile import Profiles
from homeserver.services.accounts.registration import Policy, Registration
from homeserver.services.accounts.session_cache import SessionCache
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.shared_secret import SharedSecretRegistration
from homeserver.services.accounts.tags import RoomTags
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.database import BuiltDatabase, build_database
from tests.builders.machine import HandClock, SeededRandomness

SECRET = "open sesame"
CHEAP = PasswordCost(time=1, memory_kib=8, parallelism=1)


@dataclass
class NotedRooms:
    """Implements `RoomProfiles`: notes whose profile changed."""

    changed: list[str] = field(default_factory=list)

    async def profile_changed(self, user_id: str) -> None:
        self.changed.append(user_id)


class People:
    """Everything about users on one database. `close` it."""

    def __init__(
        self,
        built: BuiltDatabase,
        *,
        policy: Policy = "open",
        guests: bool = False,
        session_lifetime_ms: int | None = None,
        min_password: int = 1,
        cost: PasswordCost = CHEAP,
    ) -> None:
        database = built.database
        self.built = built
        self.clock, self.randomness, self.rooms = HandClock(), SeededRandomness(), NotedRooms()
        self.hashing = Argon2Hashing(cost)
        self.cache, self.last_seen = SessionCache(), LastSeen(database)
        self.devices = Devices(self.clock, self.randomness, self.cache, session_lifetime_ms=session_lifetime_ms)
        self.passwords = Passwords(database, self.hashing, self.devices, self.clock, min_length=min_password)
        self.sessions = Sessions(database, built.publisher, self.clock, self.devices, self.cache, self.last_seen)
        self.registration = Registration(
            database,
            self.passwords,
            self.devices,
            self.clock,
            self.randomness,
            server_name=SERVER_NAME,
            policy=policy,
        )
        self.guests = Guests(
            database,
            self.passwords,
            self.devices,
            self.clock,
            self.randomness,
            server_name=SERVER_NAME,
            allowed=guests,
        )
        secret = OperatorSecret(self.clock, self.randomness, secret=SECRET)
        self.shared_secret = SharedSecretRegistration(self.registration, secret)
        self.interactive = InteractiveAuthentication(database, self.clock, self.randomness)
        self.profiles = Profiles(database, self.rooms, SERVER_NAME)
        self.deactivation = Deactivation(database, self.devices, self.clock, self.rooms)
        self.data, self.filters = AccountData(database), Filters(database)

    def services(self) -> Accounts:
        """As the door wants them."""
        return Accounts(
            sessions=self.sessions,
            passwords=self.passwords,
            registration=self.registration,
            guests=self.guests,
            deactivation=self.deactivation,
            interactive=self.interactive,
            profiles=self.profiles,
            data=self.data,
            filters=self.filters,
            tags=RoomTags(self.built.database),
            shared_secret=self.shared_secret,
        )

    def close(self) -> None:
        self.hashing.close()


@asynccontextmanager
async def open_people(cluster: Cluster, **options: Any) -> AsyncIterator[People]:
    """On a fresh database; `options` are those of `People`."""
    url = cluster.new_database()
    built = build_database(url, SERVER_NAME)
    people = People(built, **options)
    try:
        yield people
    finally:
        people.close()
        await built.close()
        cluster.drop(url)
