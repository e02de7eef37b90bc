"""Events in the shape that a filter asks for: some of their fields only, or as servers send them to each other.

Applied to what stands in timelines and states, as `event_fields` and `event_format` of a sync's filter say. Other APIs
take filters without these two. Almost no client asks for either, so events are made as for everybody and then remade.
https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
"""

from collections.abc import Sequence

from homeserver.domain.canonical import canonical_json
from homeserver.domain.filters import SyncFilter, select_fields
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store


class Shape:
    def __init__(self, filter: SyncFilter) -> None:
        self._paths = filter.event_fields
        self._is_raw = filter.event_format == "federation"

    @property
    def is_usual(self) -> bool:
        """True if events stay as they are."""
        return self._paths is None and not self._is_raw

    def reshape(self, store: Store, room: RoomRow, rows: Sequence[EventRow], events: Sequence[str]) -> list[str]:
        """`events`: the JSON of `rows`, as clients usually get it."""
        shown = [parse_members(event[1:-1]) for event in events]
        if self._is_raw:
            stored = store.events.list_stored(ROOM_VERSIONS[room.version], room.room_id, [row.number for row in rows])
            # NOTSPEC: what we tell of an event goes with it, and its id: newer PDUs do not say it, and clients need it.
            shown = [
                {**stored[row.number].event.pdu, "event_id": row.event_id, "unsigned": event["unsigned"]}
                for row, event in zip(rows, shown, strict=True)
            ]
        return [canonical_json(select_fields(event, self._paths), checked=True).decode() for event in shown]
