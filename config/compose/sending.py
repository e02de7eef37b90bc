"""Assembles what tells other servers what happens here."""

from dataclasses import dataclass
from typing import Protocol

from config.compose.storage import Streams
from federation.outbound.outbox import Outages, Outbox
from federation.outbound.post import Backoff, Calls, Partners, Post
from homeserver.ports import Clock, Randomness
from homeserver.services.messaging.outgoing import OutgoingEdus
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.remote.outgoing import Outgoing, OutgoingEvent
from homeserver.services.rooms.remote.progress import EVENTS, Progress
from homeserver.services.rooms.remote.servers import RoomServers
from homeserver.streams.follower import Follower


class Memory(Backoff, Outages, Protocol):
    """`federation.backoff.Backoff` is one."""


@dataclass(frozen=True, slots=True)
class Sending:
    """The process runs `follower` and `outbox`, and stops the follower first. `servers` knows who is in which room."""

    outbox: Outbox
    follower: Follower[OutgoingEvent]
    servers: RoomServers
    progress: Progress


def build_sending(
    server_name: str,
    database: Persistence,
    streams: Streams,
    calls: Calls,
    backoff: Memory,
    partners: Partners,
    clock: Clock,
    randomness: Randomness,
    first_pause: float = 5.0,
) -> Sending:
    """Nothing is sent yet. `first_pause`: seconds after a first failure."""
    outgoing, progress = Outgoing(database, server_name), Progress(database)
    # Hears of each event before those who ask about its room.
    servers = RoomServers(database, streams.publisher, server_name)
    edus = OutgoingEdus(streams.publisher, servers, outgoing)
    post = Post(server_name, randomness.token(12), calls, backoff, partners, clock)
    outbox = Outbox(outgoing, progress, edus, post, backoff, first_pause)
    follower = Follower(EVENTS, outbox, streams.publisher, outbox.act, concerns=servers.may_concern)
    return Sending(outbox, follower, servers, progress)
