"""Assembles what makes guests leave the rooms that are no longer for them."""

from config.compose.storage import Streams
from homeserver.services.rooms.guest_access import GUEST_ACCESS
from homeserver.services.rooms.guest_departures import GuestDepartures
from homeserver.services.rooms.writer import Writer
from homeserver.storage.database import Database
from homeserver.storage.stream import StateStream
from homeserver.streams.follower import Follower

FOLLOWER = "guest departures"


def build_departures(database: Database, streams: Streams, writer: Writer) -> Follower[int]:
    """The process runs it. What a resolution changed, without an event, is seen to at the next look, a minute later at
    most."""
    stream, departures = StateStream(database, GUEST_ACCESS), GuestDepartures(database, writer)
    return Follower(
        FOLLOWER, stream, streams.publisher, departures.act, concerns=lambda item: item.type == GUEST_ACCESS[0]
    )
