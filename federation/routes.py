"""All endpoints of the server-server API: a chapter is a module in `endpoints` and a line here.

https://spec.matrix.org/v1.19/server-server-api/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from federation.acl import RoomAcls
from federation.authentication import PeerDoor
from federation.endpoints.directory import Directory
from federation.endpoints.events import Events
from federation.endpoints.keys import Keys
from federation.endpoints.membership import Membership
from federation.endpoints.queries import Queries
from federation.endpoints.send import Send
from federation.endpoints.state import State
from federation.endpoints.version import Version
from federation.inbound.transaction import Transactions
from federation.joining.incoming import IncomingMembership
from federation.notary import Notary
from federation.own_keys import OwnKeys
from homeserver.http.routing import Route
from homeserver.services.accounts.profile import Profiles
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.directory import RoomDirectory
from homeserver.services.rooms.remote.serving import Serving
from homeserver.services.rooms.remote.serving_spaces import ServingSpaces
from homeserver.services.rooms.remote.serving_state import ServingState


class Chapter(Protocol):
    """A module of `endpoints`."""

    def routes(self, door: PeerDoor) -> list[Route]: ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What the endpoints speak to, and the version of this software."""

    version: str
    own_keys: OwnKeys
    notary: Notary


@dataclass(frozen=True, slots=True)
class Reading:
    """What other servers may read of us."""

    acls: RoomAcls
    events: Serving
    state: ServingState
    spaces: ServingSpaces
    aliases: Aliases
    directory: RoomDirectory
    profiles: Profiles


@dataclass(frozen=True, slots=True)
class Writing:
    """What other servers send, and how their users come into our rooms."""

    transactions: Transactions
    membership: IncomingMembership


def federation_routes(door: PeerDoor, desk: Desk) -> list[Route]:
    chapters: Sequence[Chapter] = [
        Keys(desk.own_keys, desk.notary),
        Version(desk.version),
    ]
    return routes_of(chapters, door)


def reading_routes(door: PeerDoor, reading: Reading) -> list[Route]:
    chapters: Sequence[Chapter] = [
        Events(reading.events, reading.acls),
        State(reading.state, reading.acls),
        Queries(reading.aliases, reading.profiles, reading.spaces),
        Directory(reading.directory),
    ]
    return routes_of(chapters, door)


def writing_routes(door: PeerDoor, writing: Writing) -> list[Route]:
    return routes_of([Send(writing.transactions), Membership(writing.membership)], door)


def routes_of(chapters: Sequence[Chapter], door: PeerDoor) -> list[Route]:
    return [route for chapter in chapters for route in chapter.routes(door)]
