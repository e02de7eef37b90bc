"""Assembles search: what answers, and what keeps its index."""

from dataclasses import dataclass

from config.compose.storage import Streams
from homeserver.ports import Clock
from homeserver.services.search.index import SearchIndex
from homeserver.services.search.rebuild import FOLLOWER, Rebuild
from homeserver.services.search.search import Search
from homeserver.storage.database import Database
from homeserver.storage.events import EventRow
from homeserver.storage.stream import WholeStream
from homeserver.streams.follower import Follower

# Messages can be found after so many seconds: a busy server writes many rows of the index at once.
GATHER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Searching:
    """`search` is for the doors; the process runs `follower` and `rebuild`."""

    search: Search
    index: SearchIndex
    follower: Follower[EventRow]
    rebuild: Rebuild[EventRow]


def build_search(database: Database, streams: Streams, clock: Clock, gather: float = GATHER_SECONDS) -> Searching:
    index, stream = SearchIndex(database), WholeStream(database)
    return Searching(
        Search(database, streams.publisher, clock),
        index,
        Follower(FOLLOWER, stream, streams.publisher, index.act, gather=gather),
        Rebuild(stream, index.act),
    )
