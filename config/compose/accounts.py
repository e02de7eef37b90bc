"""Assembles what is about users: registration, sessions, passwords, profiles, account data, filters."""

from dataclasses import dataclass
from typing import cast

from clients.routes import Accounts
from config.settings import Settings
from homeserver.adapters.password_hashing import Argon2Hashing, PasswordCost
from homeserver.ports import Clock, Randomness, RemoteProfiles
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
from homeserver.services.accounts.user_limits import UserLimits
from homeserver.services.rooms.membership import Membership
from homeserver.storage.database import Database
from homeserver.streams.publisher import Publisher


@dataclass(frozen=True, slots=True)
class Desk:
    """The services for the client door, and what the process looks after."""

    accounts: Accounts
    hashing: Argon2Hashing
    last_seen: LastSeen
    registration: Registration


def build_accounts(
    settings: Settings,
    secret: str,
    database: Database,
    publisher: Publisher,
    membership: Membership,
    clock: Clock,
    randomness: Randomness,
    profiles: RemoteProfiles | None = None,
    user_limits: UserLimits | None = None,
) -> Desk:
    """`secret` is what the operator shares with us; `profiles` those of other servers, if we talk to any."""
    cost = settings.passwords
    hashing = Argon2Hashing(PasswordCost(cost.time_cost, cost.memory_kib), cost.queue)
    cache, last_seen = SessionCache(), LastSeen(database)
    devices = Devices(clock, randomness, cache)
    passwords = Passwords(database, hashing, devices, clock)
    registration = Registration(
        database,
        passwords,
        devices,
        clock,
        randomness,
        server_name=settings.server_name,
        policy=cast(Policy, settings.registration.for_members),
    )
    operator = OperatorSecret(clock, randomness, secret=secret)
    accounts = Accounts(
        sessions=Sessions(database, publisher, clock, devices, cache, last_seen),
        passwords=passwords,
        registration=registration,
        guests=Guests(
            database,
            passwords,
            devices,
            clock,
            randomness,
            server_name=settings.server_name,
            allowed=settings.registration.allows_guests,
        ),
        deactivation=Deactivation(database, devices, clock, membership),
        interactive=InteractiveAuthentication(database, clock, randomness),
        profiles=Profiles(database, membership, settings.server_name, profiles),
        data=AccountData(database),
        filters=Filters(database),
        tags=RoomTags(database),
        shared_secret=SharedSecretRegistration(registration, operator),
        operator=operator,
        user_limits=user_limits,
    )
    return Desk(accounts, hashing, last_seen, registration)
