"""What other servers may read of a room's state: that before an event, and what authorises it.

Both are answered for events that have a place in the graph; of outliers the state is not known.
https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
https://spec.matrix.org/v1.19/server-server-api/#retrieving-event-authorisation-information
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from homeserver.domain.errors import Forbidden, NotFound, TooLarge
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.remote.pdu_form import pdu_text, redacted_pdu_text
from homeserver.services.rooms.remote.turns import Turns
from homeserver.services.server_access import AUTHORISING, ServedRoom, served_room, visible_to_server
from homeserver.storage.graph import PduRow
from homeserver.storage.store import Store

# Events in one auth chain, and characters in one answer.
MAX_CHAIN = 200_000
MAX_CHARACTERS = 64 << 20
BATCH = 500
MAX_SERVERS_TOLD = 10_000


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The state before an event, and its auth chain: numbers, oldest first. `is_whole`: the server may see the event,
    so it may see the whole state that the event met."""

    room: ServedRoom
    is_whole: bool
    state: Sequence[int]
    auth_chain: Sequence[int]


@dataclass(frozen=True, slots=True)
class Entry:
    """The state before an event and what authorises both, as JSON without the brackets; and the other servers that are
    in the room, those that are in it for longest first."""

    state: str
    auth_chain: str
    servers: Sequence[str]


class ServingState:
    """`server` is the name of the asking server, which has proven that it is the one. All answers are JSON.

    Rooms can be made in which these questions cost much, so each server has one answered at a time.
    """

    def __init__(self, database: Persistence) -> None:
        self._database = database
        self._turns = Turns()

    async def event_auth(self, server: str, room_id: str, event_id: str) -> bytes:
        """Raises Forbidden, NotFound, TooLarge, LimitExceeded."""

        def work(store: Store) -> bytes:
            room, row = _served_event(store, server, room_id, event_id)
            if row.rejected:
                raise NotFound("No such event is known in this room")
            chain = _auth_chain(store, room, [row.number])
            return f'{{"auth_chain":[{_join(_pdus(store, room, chain, ()))}]}}'.encode()

        async with self._turns.of(server):
            return await self._database.read_long(work)

    async def state(self, server: str, room_id: str, event_id: str) -> bytes:
        """The state before the event. Raises Forbidden, NotFound, TooLarge, LimitExceeded."""

        def work(store: Store) -> bytes:
            found = _snapshot(store, server, room_id, event_id)
            room, hidden = found.room, () if found.is_whole else _past(store, found)
            state = _join(_pdus(store, room, found.state, hidden))
            chain = _join(_pdus(store, room, found.auth_chain, hidden), len(state))
            return f'{{"auth_chain":[{chain}],"pdus":[{state}]}}'.encode()

        async with self._turns.of(server):
            return await self._database.read_long(work)

    async def entry(self, server: str, room_id: str, event_id: str) -> Entry:
        """For a server that comes in with the event. Raises Forbidden, NotFound, TooLarge, LimitExceeded."""

        def work(store: Store) -> Entry:
            room, row = _served_event(store, server, room_id, event_id)
            numbers = sorted(store.state.get_group(row.state_before or 0).values())
            state = _join(_pdus(store, room, numbers, ()))
            chain = _join(_pdus(store, room, _auth_chain(store, room, [*numbers, row.number]), ()), len(state))
            return Entry(state, chain, store.residents.list_servers(room.row.number, MAX_SERVERS_TOLD))

        async with self._turns.of(server):
            return await self._database.read_long(work)

    async def state_ids(self, server: str, room_id: str, event_id: str) -> bytes:
        """As `state`, ids only."""

        def work(store: Store) -> bytes:
            found = _snapshot(store, server, room_id, event_id)
            ids = store.graph.list_ids({*found.state, *found.auth_chain})
            state, chain = [ids[one] for one in found.state], [ids[one] for one in found.auth_chain]
            return orjson.dumps({"auth_chain_ids": chain, "pdu_ids": state})

        async with self._turns.of(server):
            return await self._database.read_long(work)


def _served_event(store: Store, server: str, room_id: str, event_id: str) -> tuple[ServedRoom, PduRow]:
    """A server in the room may know of any event; another one of those that it may see."""
    room = served_room(store, server, room_id)
    row = store.graph.find(event_id)
    if row is None or row.room != room.row.number:
        raise NotFound("No such event is known in this room")
    if not room.is_joined and not visible_to_server(store, room, [row]):
        raise Forbidden("Your server may not see this event")
    return room, row


def _snapshot(store: Store, server: str, room_id: str, event_id: str) -> _Snapshot:
    room, row = _served_event(store, server, room_id, event_id)
    if row.state_before is None or row.partial:
        raise NotFound("The state at this event is not known here")
    state = sorted(store.state.get_group(row.state_before).values())
    visible = visible_to_server(store, room, [row])
    return _Snapshot(room, bool(visible), state, _auth_chain(store, room, state))


def _auth_chain(store: Store, room: ServedRoom, numbers: Iterable[int]) -> Sequence[int]:
    """An event is stored after all that it cites, so their numbers put them in order."""
    chain = store.graph.walk_auth_chain(room.row.number, numbers, MAX_CHAIN + 1)
    if len(chain) > MAX_CHAIN:
        raise TooLarge(f"What authorises this is more than {MAX_CHAIN} events")
    return sorted(chain)


def _past(store: Store, found: _Snapshot) -> Collection[int]:
    """Those events of a state that stand in the current one no more."""
    return set(found.state) - set(store.state.get_group(found.room.row.state_group).values())


def _pdus(store: Store, room: ServedRoom, numbers: Sequence[int], hidden: Collection[int]) -> Iterator[str]:
    """The events in order, the `hidden` ones redacted, except what authorises others."""
    version, room_id = ROOM_VERSIONS[room.row.version], room.row.room_id
    for first in range(0, len(numbers), BATCH):
        batch = numbers[first : first + BATCH]
        rows = store.graph.list_texts(batch)
        for row in (rows[number] for number in batch if number in rows):
            if row.number in hidden and row.type not in AUTHORISING:
                yield redacted_pdu_text(version, room_id, row.event_id, row.client, row.wire)
            else:
                yield pdu_text(version, room_id, row.event_id, row.type, row.client, row.wire)


def _join(pdus: Iterator[str], characters: int = 0) -> str:
    """Raises TooLarge as soon as there are too many characters, those that are there already included."""
    parts: list[str] = []
    for pdu in pdus:
        characters += len(pdu) + 1
        if characters > MAX_CHARACTERS:
            raise TooLarge("This state is too large for one answer; ask for its ids")
        parts.append(pdu)
    return ",".join(parts)
