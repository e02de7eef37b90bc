"""Events in client form, each a text that the database wrote: what long answers are made of.

A text costs a fifth of a row that is taken apart, carried over in two dozen values and put together again. What the
database cannot write is said of each event (`plain`, `parent`): whoever asks makes those few from their rows.
https://spec.matrix.org/v1.19/client-server-api/#room-event-format
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from homeserver.storage.events import EventRow
from homeserver.storage.history import Place
from homeserver.storage.transaction import Statement, Transaction

# $1: now in ms; $2, $3: user and device who ask; $4: more members of `unsigned`, and $5: of the event, as JSON that
# begins with a comma. No text of PostgreSQL can hold U+0000, so a former content with it cannot be looked into.
_ASKER = "bigint, text, text, text, text"
_NUL_BEFORE = "position('\\u0000' in b.client) > 0"
_TEXT = (
    "'{' || e.client || ',\"event_id\":' || to_json(e.event_id)::text || $5"
    ' || \',"unsigned":{"age":\' || greatest(0, $1 - e.origin_server_ts) || $4'
    " || CASE WHEN e.device_id = $3 AND e.sender = $2 AND e.txn_id IS NOT NULL"
    " THEN ',\"transaction_id\":' || to_json(e.txn_id)::text ELSE '' END"
    f" || CASE WHEN b.number IS NULL OR {_NUL_BEFORE} THEN ''"
    " ELSE ',\"prev_content\":' || (('{' || b.client || '}')::json -> 'content')::text"
    " || ',\"replaces_state\":' || to_json(b.event_id)::text END || '}}'"
)
_PLAIN = f"e.redacted_by IS NULL AND e.type <> 'm.room.redaction' AND ({_NUL_BEFORE}) IS NOT TRUE"
# "State events do not currently receive bundled aggregations"
_PARENT = "e.key IS NULL AND EXISTS (SELECT 1 FROM relations r WHERE r.room = e.room AND r.relates_to = e.event_id)"
_HEAD = "e.number, e.room, e.anchor, e.rank, e.gap_before, e.type, k.state_key, e.sender"
_COLUMNS = f"{_HEAD}, {_PLAIN}, {_PARENT}, {_TEXT}"
_JOINS = "LEFT JOIN state_keys k ON k.number = e.key LEFT JOIN events b ON b.number = e.replaces"

BACKWARDS = Statement(
    "page_texts_backwards",
    f"{_ASKER}, bigint, bigint, int, bigint, int, int",
    f"SELECT {_COLUMNS} FROM events e {_JOINS} WHERE e.room = $6 AND e.anchor IS NOT NULL"
    " AND (e.anchor, e.rank) <= ($7, $8) AND (e.anchor, e.rank) > ($9, $10)"
    " ORDER BY e.anchor DESC, e.rank DESC LIMIT $11",
)
FORWARDS = Statement(
    "page_texts_forwards",
    f"{_ASKER}, bigint, bigint, int, bigint, int, int",
    f"SELECT {_COLUMNS} FROM events e {_JOINS} WHERE e.room = $6 AND e.anchor IS NOT NULL"
    " AND (e.anchor, e.rank) > ($7, $8) AND (e.anchor, e.rank) <= ($9, $10) ORDER BY e.anchor, e.rank LIMIT $11",
)
LIVE_IN_ROOMS = Statement(
    "list_live_texts_in_rooms",
    f"{_ASKER}, bigint[], bigint[], bigint[], int",
    f"SELECT {_COLUMNS} FROM unnest($6, $7, $8) AS w(room, after, upto) CROSS JOIN LATERAL ("
    "SELECT * FROM events i WHERE i.room = w.room AND i.anchor > w.after AND i.anchor <= w.upto AND i.live"
    f" ORDER BY i.anchor DESC, i.rank DESC LIMIT $9) e {_JOINS}",
)
# State events: nothing is bundled with them.
LIST_STATE = Statement(
    "list_state_texts",
    f"{_ASKER}, bigint[]",
    f"SELECT {_HEAD}, {_PLAIN}, false, {_TEXT} FROM events e {_JOINS} WHERE e.number = ANY($6)",
)


class EventText(NamedTuple):
    """`plain`: `text` is all that is to be told of the event; `parent`: but for what is bundled with it, as others
    point at it."""

    number: int
    room: int
    anchor: int | None
    rank: int
    gap_before: bool
    type: str
    state_key: str | None
    sender: str
    plain: bool
    parent: bool
    text: str


class Asker(NamedTuple):
    """For whom, and when, texts are written. `unsigned`: more members of `unsigned`, the same for all events."""

    now_ms: int
    user_id: str
    device_id: str | None
    unsigned: str = ""
    members: str = ""


class EventTexts:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def page(
        self, asker: Asker, room: int, start: Place, stop: Place, limit: int, *, backwards: bool
    ) -> list[EventText]:
        """Events of a room's history between two places, from `start` on; as `History.page_backwards`, or forwards."""
        rows = self._transaction.fetch(
            BACKWARDS if backwards else FORWARDS,
            *asker, room, start.anchor, start.rank, stop.anchor, stop.rank, limit,
        )  # fmt: skip
        return [EventText._make(row) for row in rows]

    def list_live_in_rooms(
        self, asker: Asker, ranges: Mapping[int, tuple[int, int]], limit: int
    ) -> dict[int, list[EventText]]:
        """The newest `limit` live events of each room, newest first; `ranges`: (after, upto) by room."""
        found: dict[int, list[EventText]] = {room: [] for room in ranges}
        if ranges:
            after, upto = zip(*ranges.values(), strict=True)
            for row in self._transaction.fetch(LIVE_IN_ROOMS, *asker, list(ranges), list(after), list(upto), limit):
                found[row[1]].append(EventText._make(row))
            for events in found.values():
                events.sort(key=_place, reverse=True)
        return found

    def list_state(self, asker: Asker, numbers: Iterable[int]) -> list[EventText]:
        """State events by number, in no order."""
        wanted = list(numbers)
        return [EventText._make(row) for row in self._transaction.fetch(LIST_STATE, *asker, wanted)] if wanted else []


def text_of(row: EventRow, text: str) -> EventText:
    """Of a row that was made a text already."""
    return EventText(
        row.number, row.room, row.anchor, row.rank, row.gap_before, row.type, row.state_key, row.sender, True, False,
        text,
    )  # fmt: skip


def _place(event: EventText) -> tuple[int, int]:
    return event.anchor or 0, event.rank
