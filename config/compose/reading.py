"""Assembles what other servers may read of this one."""

from config.compose.house import House
from federation.acl import RoomAcls
from federation.authentication import PeerDoor
from federation.routes import Reading, reading_routes
from homeserver.http.routing import Route
from homeserver.ports import Clock
from homeserver.services.accounts.profile import Profiles
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.remote.serving import Serving
from homeserver.services.rooms.remote.serving_spaces import ServingSpaces
from homeserver.services.rooms.remote.serving_state import ServingState


def build_reading(
    server_name: str,
    database: Persistence,
    clock: Clock,
    house: House,
    profiles: Profiles,
    acls: RoomAcls,
    door: PeerDoor,
) -> list[Route]:
    """The routes."""
    reading = Reading(
        acls=acls,
        events=Serving(database, clock, server_name),
        state=ServingState(database),
        spaces=ServingSpaces(database),
        aliases=house.aliases,
        directory=house.directory,
        profiles=profiles,
    )
    return reading_routes(door, reading)
