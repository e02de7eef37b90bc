"""Which servers are in a room now, at hand for what is told at once: typing, receipts, presence.

Follows the publications, so that rooms without other servers cost nothing. Not here: whom an event concerns, which is
asked of the tables as of the event's position (`outgoing`).
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from homeserver.domain.identifiers import domain_of
from homeserver.services.persistence import Persistence
from homeserver.streams.publications import EventItem, Publication, StateItem

MEMBER = "m.room.member"
# Rooms whose servers are remembered.
MAX_ROOMS = 2_000


class Publications(Protocol):
    """`homeserver.streams.publisher.Publisher` is one."""

    def listen(self, listener: Callable[[Publication], None]) -> None: ...


class RoomServers:
    """Lives on the loop."""

    def __init__(self, database: Persistence, publications: Publications, server_name: str) -> None:
        self._database = database
        self._server_name = server_name
        # Rooms that ever concerned another server; None: not known yet.
        self._shared: set[int] | None = None
        # What came while they were read.
        self._met: set[int] = set()
        self._servers: OrderedDict[int, Sequence[str]] = OrderedDict()
        # Rooms whose members changed while their servers were read.
        self._changed: set[int] = set()
        self._reading = 0
        publications.listen(self._heard)

    async def load(self) -> None:
        """Learns which rooms are shared. Until then every room may be."""
        found = await self._database.read(lambda store: store.room_servers.list_rooms(), single=True)
        self._shared = self._met.union(found)
        self._met = set()

    def may_concern(self, item: EventItem) -> bool:
        """Whether other servers may have to be told of an event: they are in the room, and our user sent it, or it is
        of a kind that we relay."""
        return self.is_shared(item.room) and (item.type == MEMBER or self.is_ours(item.sender))

    def is_shared(self, room: int) -> bool:
        """Whether another server is in the room, or was, as far as we know."""
        return self._shared is None or room in self._shared

    def is_ours(self, user_id: str) -> bool:
        return user_id.partition(":")[2] == self._server_name

    async def find(self, rooms: Collection[int]) -> dict[int, Sequence[str]]:
        """By room: the other servers with joined users."""
        found = {room: self._servers[room] for room in rooms if room in self._servers}
        missing = [room for room in rooms if room not in found]
        for room in found:
            self._servers.move_to_end(room)
        if not missing:
            return found
        self._reading += 1
        try:
            read = await self._database.read(lambda store: store.room_servers.list_now(missing), single=True)
            for room, servers in read.items():
                found[room] = servers
                if room not in self._changed:
                    self._remember(room, servers)
        finally:
            self._reading -= 1
            if not self._reading:
                self._changed.clear()
        return found

    def _remember(self, room: int, servers: Sequence[str]) -> None:
        self._servers[room] = servers
        if len(self._servers) > MAX_ROOMS:
            self._servers.popitem(last=False)

    def _heard(self, publication: Publication) -> None:
        item = publication.item
        if isinstance(item, EventItem):
            # Whoever the event is about: with it the state may have changed at other keys, which a StateItem tells.
            if item.type == MEMBER and item.state_key is not None:
                self._note(item.room, [item.state_key])
        elif isinstance(item, StateItem):
            self._note(item.room, [key[1] for key in item.keys if key[0] == MEMBER])

    def _note(self, room: int, user_ids: Sequence[str]) -> None:
        if all(":" not in user_id or domain_of(user_id) == self._server_name for user_id in user_ids):
            return
        self._servers.pop(room, None)
        if self._reading:
            self._changed.add(room)
        (self._met if self._shared is None else self._shared).add(room)
