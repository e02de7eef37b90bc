"""The house of the sync tests: real storage and services, with a clock and a randomness that repeat, and two ways to
put an event into a room that no local request has: as another server would, and at an older place of the room.
"""

import itertools
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signedjson.key import decode_signing_key_base64

from config.compose.house import House, build_house
from config.compose.storage import Pools, Streams, open_storage
from config.data_directory import PositionFile
from homeserver.domain.authorization.selection import auth_state_keys
from homeserver.domain.draft import Reference, build_pdu
from homeserver.domain.event import Event, StateKey
from homeserver.domain.hashing import reference_hash
from homeserver.domain.verdict import Accepted
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.merging import merge_groups
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.tokens import parse_sync_token
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.store import Store
from homeserver.streams.publications import EventItem, Publication, StateItem
from tests.builders.abroad import consenting
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.machine import SeededRandomness

REMOTE = "remote.example"
KEY = decode_signing_key_base64("ed25519", "test", "A" * 43)


class TickingClock:
    """Implements `homeserver.ports.Clock`: a millisecond passes whenever somebody looks."""

    def __init__(self) -> None:
        self._ms = 1_700_000_000_000

    def now_ms(self) -> int:
        self._ms += 1
        return self._ms

    def skip(self, ms: int) -> None:
        self._ms += ms


@dataclass(slots=True)
class RoomLog:
    """What was published of a room, in order, as anybody could have seen it."""

    events: list[tuple[int, EventItem]] = field(default_factory=list)
    redacted: set[str] = field(default_factory=set)
    # Whether the state is another one than the events, in order, would make it: branches were merged.
    forked: bool = False

    @property
    def ids(self) -> list[str]:
        return [item.event_id for _, item in self.events]


class World:
    """`database`, `streams` and `house` are others after a restart."""

    database: Database
    streams: Streams
    house: House

    def __init__(self, url: str, positions: PositionFile) -> None:
        self._url = url
        self._positions = positions
        self.clock = TickingClock()
        self._randomness = SeededRandomness()
        self._suffixes = itertools.count(1)
        self._stories = itertools.count(1)
        self.logs: dict[str, RoomLog] = {}
        self._open()

    def _open(self) -> None:
        self.database, self.streams = open_storage(self._url, SERVER_NAME, self._positions, Pools(3, 3, 1))
        self.house = build_house(
            self.database, self.streams, SERVER_NAME, KEY, self.clock, self._randomness, go_abroad=consenting
        )
        self._append = Append(SERVER_NAME, self.house.rule_book)
        self.streams.publisher.listen(self._note)

    async def close(self) -> None:
        """As a crash would: what only memory holds is lost."""
        self.house.typing.stop()
        await self.database.settle()
        self.database.close()

    async def restart(self, *, in_good_order: bool) -> None:
        """The next process on the same data. Nobody may be waiting for a sync."""
        if in_good_order:
            await self.house.typing.close()
        await self.close()
        self._open()
        await self.house.refill()

    def new_story(self) -> int:
        """A number that no story of this world had."""
        return next(self._stories)

    def _note(self, publication: Publication) -> None:
        item = publication.item
        if isinstance(item, StateItem):
            self.logs[item.room_id].forked = True
        elif isinstance(item, EventItem):
            log = self.logs.setdefault(item.room_id, RoomLog())
            log.forked |= item.state_key is not None and not item.is_current
            log.events.append((publication.position, item))
            if item.redacted is not None:
                log.redacted.add(item.redacted[0])

    @staticmethod
    def position_of(answer: Mapping[str, Any]) -> int:
        """The position of an answer's `next_batch`."""
        return parse_sync_token(answer["next_batch"]).position

    async def append(
        self,
        room_id: str,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        redacts: str | None = None,
        after: Sequence[str] | None = None,
    ) -> bool:
        """An event of another server, at the end of the room or after the events `after`. True if it was accepted."""

        def work(store: Store) -> bool:
            room = self.house.writer.open(store, room_id)
            event = self._draft(room, sender, type, content, state_key, redacts, after or room.row.extremity_ids)
            accepted = isinstance(self._append(room, event), Accepted)
            room.save()
            return accepted

        return await self.database.write(work, room=room_id)

    def _draft(
        self,
        room: LockedRoom,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        state_key: str | None,
        redacts: str | None,
        after: Sequence[str],
    ) -> Event:
        store = room.store
        places = store.events.list_places(after)
        group = merge_groups(room, [group for _, group in places.values()])
        previous = room.events(number for number, _ in places.values()).values()
        keys = auth_state_keys(room.version, type, sender, state_key, content)
        return build_pdu(
            room.version,
            room_id=room.row.room_id,
            sender=sender,
            type=type,
            state_key=state_key,
            content=content,
            prev_events=_references(room, previous),
            auth_events=_references(room, self._standing(room, group, keys)),
            depth=max(stored.event.depth for stored in previous) + 1,
            origin_server_ts=self.clock.now_ms(),
            server_name=REMOTE,
            key=KEY,
            event_id_suffix=f"remote{next(self._suffixes)}",
            redacts=redacts,
        )

    @staticmethod
    def _standing(room: LockedRoom, group: int, keys: Sequence[StateKey]) -> list[StoredEvent]:
        state = room.store.state
        numbers = [state.find_in_group(group, number) for number in state.number_keys(keys).values()]
        return list(room.events(number for number in numbers if number is not None).values())


def _references(room: LockedRoom, events: Sequence[StoredEvent] | Any) -> list[Reference]:
    if room.version.reference_pairs:
        return [(one.event.event_id, reference_hash(room.version, one.event.pdu)) for one in events]
    return [one.event.event_id for one in events]


@asynccontextmanager
async def open_world(cluster: Cluster) -> AsyncIterator[World]:
    """A world on a fresh database."""
    url = cluster.new_database()
    with tempfile.TemporaryDirectory(prefix="parley-sync-") as directory:
        world = World(url, PositionFile(Path(directory)))
        try:
            yield world
        finally:
            await world.close()
            cluster.drop(url)
