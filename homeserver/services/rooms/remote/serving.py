"""What other servers may read of a room's events: one by its id, those before some, those between others.

An event that the asking server may not see goes out redacted (`homeserver.services.server_access`), a rejected one not
at all. "Soft failed" ones take part in the graph: "they can be queried by other servers".
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from collections.abc import Sequence

import orjson

from homeserver.domain.errors import Forbidden, NotFound
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.ports import Clock
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.remote.pdu_form import pdu_text, redacted_pdu_text
from homeserver.services.server_access import ServedRoom, served_room, visible_to_server, whole_for_server
from homeserver.storage.events import EventRow
from homeserver.storage.graph import LOWEST, PduRow
from homeserver.storage.store import Store

# Events in one answer.
MAX_BACKFILL = 100
MAX_MISSING = 100
# So many rejected events may stand in the way of those that are asked for.
SLACK = 200
# So many events near a time are looked at for one that the server may see.
MAX_NEAR = 200


class Serving:
    """`server` is the name of the asking server, which has proven that it is the one. All answers are JSON."""

    def __init__(self, database: Persistence, clock: Clock, server_name: str) -> None:
        self._database = database
        self._clock = clock
        self._server_name = server_name

    async def event(self, server: str, event_id: str) -> bytes:
        """A transaction that holds the event. Raises NotFound, Forbidden."""

        def work(store: Store) -> list[str]:
            row = store.graph.find(event_id)
            if row is None or row.rejected:
                raise NotFound("No such event is known here")
            [room] = store.rooms.list_by_numbers([row.room])
            pdus = pdus_for_server(store, served_room(store, server, room.room_id), [row])
            if not pdus:
                raise Forbidden("Your server may not see this event")
            return pdus

        return self._transaction(await self._database.read(work))

    async def backfill(self, server: str, room_id: str, latest: Sequence[str], limit: int) -> bytes:
        """A transaction with the events `latest` and those before them, newest first. Raises Forbidden."""
        limit = min(limit, MAX_BACKFILL)

        def work(store: Store) -> list[str]:
            room = served_room(store, server, room_id)
            numbers = store.graph.walk_backwards(room.row.number, latest, limit + SLACK)
            rows = _first(store, numbers, limit)
            # Nobody checks how deep an event says that it is, but it says so of what it follows too.
            rows.sort(key=lambda row: (row.depth, row.number), reverse=True)
            return pdus_for_server(store, room, rows)

        return self._transaction(await self._database.read(work))

    async def missing_events(
        self, server: str, room_id: str, latest: Sequence[str], earliest: Sequence[str], limit: int, min_depth: int
    ) -> bytes:
        """The events before `latest`, without `earliest` and what is before these: the nearest ones, oldest first.

        Raises Forbidden.
        """
        limit = min(limit, MAX_MISSING)
        lowest = max(LOWEST, min(min_depth, -LOWEST - 1))

        def work(store: Store) -> list[str]:
            room = served_room(store, server, room_id)
            known = set(store.events.find_numbers(latest).values())
            numbers = store.graph.walk_backwards(
                room.row.number, latest, limit + len(known) + SLACK, earliest=earliest, min_depth=lowest
            )
            rows = _first(store, [number for number in numbers if number not in known], limit)
            rows.sort(key=lambda row: (row.depth, row.number))
            return pdus_for_server(store, room, rows)

        pdus = await self._database.read(work)
        return f'{{"events":[{",".join(pdus)}]}}'.encode()

    async def closest_event(self, server: str, room_id: str, ts: int, *, forwards: bool) -> bytes:
        """The event that the server may see closest to a time (ms), from it on or up to it. Raises Forbidden, NotFound.

        What came redacted would help nobody here, so it does not count.
        """

        def work(store: Store) -> EventRow:
            room = served_room(store, server, room_id)
            rows = store.history.list_by_time(room.row.number, ts, None, MAX_NEAR, backwards=not forwards)
            visible = visible_to_server(store, room, rows)
            for row in rows:
                if row.number in visible:
                    return row
            raise NotFound(f"No event {'after' if forwards else 'before'} {ts} can be shown")

        row = await self._database.read(work)
        return orjson.dumps({"event_id": row.event_id, "origin_server_ts": row.origin_server_ts})

    def _transaction(self, pdus: Sequence[str]) -> bytes:
        """A server name is the same as JSON."""
        head = f'"origin":"{self._server_name}","origin_server_ts":{self._clock.now_ms()}'
        return f'{{{head},"pdus":[{",".join(pdus)}]}}'.encode()


def pdus_for_server(store: Store, room: ServedRoom, rows: Sequence[PduRow]) -> list[str]:
    """The events as this server may have them: as they are, redacted, or not at all."""
    version, room_id = ROOM_VERSIONS[room.row.version], room.row.room_id
    whole = whole_for_server(store, room, rows)
    pdus: list[str] = []
    for row in rows:
        if row.number in whole:
            pdus.append(pdu_text(version, room_id, row.event_id, row.type, row.client, row.wire))
        elif room.is_joined:
            pdus.append(redacted_pdu_text(version, room_id, row.event_id, row.client, row.wire))
    return pdus


def _first(store: Store, numbers: Sequence[int], limit: int) -> list[PduRow]:
    """The first `limit` of these events that were not rejected."""
    rows = store.graph.list_pdus(numbers)
    return [rows[number] for number in numbers if not rows[number].rejected][:limit]
