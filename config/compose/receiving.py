"""Assembles what takes in what other servers send: transactions, what they follow, and memberships; and history."""

from dataclasses import dataclass

from signedjson.types import SigningKey

from config.compose.federation import Federation
from config.compose.house import Abroad, House, Remote
from config.compose.verification import Verification
from federation.history import RemoteHistory
from federation.inbound.edus import Edus, Presence
from federation.inbound.gaps import Gaps
from federation.inbound.strays import Strays
from federation.inbound.transaction import Transactions
from federation.inbound.waiting import FIRST_PAUSE, WaitingRooms
from federation.joining.author import Author
from federation.joining.incoming import IncomingMembership
from federation.joining.outgoing import OutgoingMembership
from federation.peers import Peers
from federation.routes import Writing, writing_routes
from homeserver.http.routing import Route
from homeserver.ports import Clock, Randomness
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.remote.serving_state import ServingState


@dataclass(frozen=True, slots=True)
class Receiving:
    """`waiting` is resumed at the start, and stopped at the end."""

    waiting: WaitingRooms
    routes: list[Route]


def build_abroad(
    server_name: str,
    key: SigningKey,
    federation: Federation,
    verification: Verification,
    clock: Clock,
    randomness: Randomness,
    remote: Remote,
) -> Abroad:
    rooms = OutgoingMembership(
        Author(server_name, key, clock, randomness),
        federation.calls,
        verification.checks,
        verification.keyring,
        remote.entering,
        remote.out_of_band,
    )
    peers, checks = Peers(federation.calls), verification.checks
    gaps = Gaps(remote.events, peers, checks)
    return Abroad(rooms, RemoteHistory(remote.events, remote.backfilling, gaps, peers, checks))


def build_receiving(
    server_name: str,
    key: SigningKey,
    database: Persistence,
    house: House,
    federation: Federation,
    verification: Verification,
    presence: Presence | None,
    first_pause: float = FIRST_PAUSE,
) -> Receiving:
    """`presence` is None where presence is off. `first_pause`: seconds until what was missing is asked for again."""
    remote, checks, acls = house.remote, verification.checks, verification.acls
    gaps = Gaps(remote.events, Peers(federation.calls), checks)
    waiting = WaitingRooms(remote.events, remote.staging, gaps, first_pause)
    transactions = Transactions(
        remote.events,
        remote.staging,
        waiting,
        checks,
        acls,
        Edus(acls, house.typing, house.receipts, presence),
        Strays(server_name, remote.out_of_band, checks),
        federation.backoff,
    )
    incoming = IncomingMembership(
        server_name, key, checks, acls, remote.hosting, ServingState(database), remote.invited
    )
    return Receiving(waiting, writing_routes(verification.door, Writing(transactions, incoming)))
