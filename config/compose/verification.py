"""Assembles how other servers are told apart: our keys and theirs, checks of what they send, and their door."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from signedjson.types import SigningKey

from config.settings import Settings
from federation.acl import RoomAcls
from federation.authentication import PeerDoor
from federation.inbound.pdus import PduChecks
from federation.key_lookups import Calls, KeyLookups
from federation.keyring import Keyring
from federation.notary import Notary
from federation.own_keys import OwnKeys
from federation.partners import Partners
from federation.routes import Desk, federation_routes
from federation.threads import Threads
from homeserver.http.routing import Route
from homeserver.ports import Clock
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.server_acls import StandingAcls
from homeserver.services.server_keys import KeptServerKeys


@dataclass(frozen=True, slots=True)
class Verification:
    """`close` ends what is under way."""

    own_keys: OwnKeys
    keyring: Keyring
    notary: Notary
    checks: PduChecks
    acls: RoomAcls
    door: PeerDoor
    lookups: KeyLookups
    threads: Threads

    async def close(self) -> None:
        await self.lookups.close()
        self.threads.close()

    def routes(self) -> list[Route]:
        """Everything that other servers may ask."""
        return federation_routes(self.door, Desk(_version(), self.own_keys, self.notary))


def build_verification(
    settings: Settings, database: Persistence, key: SigningKey, calls: Calls, partners: Partners, clock: Clock
) -> Verification:
    name, wanted = settings.server_name, settings.federation
    threads = Threads()
    kept = KeptServerKeys(database)
    own_keys = OwnKeys(name, key, wanted.old_signing_keys, clock)
    lookups = KeyLookups(calls, kept, clock, wanted.notaries)
    keyring = Keyring(name, own_keys.keys, kept, lookups, threads, clock)
    return Verification(
        own_keys=own_keys,
        keyring=keyring,
        notary=Notary(own_keys, kept, lookups, clock),
        checks=PduChecks(keyring, threads),
        acls=RoomAcls(StandingAcls(database)),
        door=PeerDoor(name, keyring, partners, clock),
        lookups=lookups,
        threads=threads,
    )


def _version() -> str:
    try:
        return version("parley")
    except PackageNotFoundError:
        return "unknown"
