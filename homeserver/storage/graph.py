"""The two graphs that the events of a room make: what they follow (`prev`), and what authorises them (`auth`).

A walk is one statement that goes from level to level inside the database and stops as soon as it has found enough: its
cost is that of what it finds, however long the chains and however wide the levels are. Each event is met once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from homeserver.storage.transaction import Statement, Transaction

COLUMNS = (
    "e.number, e.event_id, e.room, e.depth, e.type, k.state_key, e.sender, e.state_before, e.rejected IS NOT NULL,"
    " e.partial_state, e.client, e.wire"
)
TABLES = "events e LEFT JOIN state_keys k ON k.number = e.key"

FIND = Statement("find_pdu", "text", f"SELECT {COLUMNS} FROM {TABLES} WHERE e.event_id = $1")
LIST = Statement("list_pdus", "bigint[]", f"SELECT {COLUMNS} FROM {TABLES} WHERE e.number = ANY($1)")
TEXTS = Statement(
    "list_pdu_texts",
    "bigint[]",
    "SELECT number, event_id, type, client, wire FROM events WHERE number = ANY($1) AND rejected IS NULL",
)
# UNION leaves out what was met before, and rows are computed one by one as the LIMIT asks for them. The array, not a
# join with its elements: so an index is used at every level, whatever the planner thinks of the size of the levels.
AUTH_CHAIN = Statement(
    "walk_auth_chain",
    "bigint, bigint[], int",
    "WITH RECURSIVE chain(number, auth) AS ("
    "SELECT number, auth FROM events WHERE room = $1"
    " AND number = ANY(ARRAY(SELECT DISTINCT unnest(auth) FROM events WHERE number = ANY($2)))"
    " UNION SELECT e.number, e.auth FROM chain c CROSS JOIN LATERAL"
    " (SELECT number, auth FROM events WHERE number = ANY(c.auth) AND room = $1) e"
    ") SELECT number FROM chain LIMIT $3",
)
# What comes before events that were given, nearest first; they themselves come at the very front. Outliers have no
# place in the graph.
BACKWARDS = Statement(
    "walk_backwards",
    "bigint, text[], text[], bigint, int",
    "WITH RECURSIVE walk(number, prev) AS ("
    "SELECT number, prev FROM events WHERE event_id = ANY($2) AND room = $1 AND state_before IS NOT NULL"
    " UNION SELECT e.number, e.prev FROM walk w CROSS JOIN LATERAL"
    " (SELECT number, prev FROM events WHERE number = ANY(w.prev) AND room = $1 AND state_before IS NOT NULL"
    " AND event_id <> ALL($3) AND depth >= $4) e"
    ") SELECT number FROM walk LIMIT $5",
)
# What some events follow, directly or behind others that nobody sees.
BEHIND_UNSEEN = Statement(
    "list_behind_unseen",
    "bigint[], int",
    "WITH RECURSIVE unseen(number, prev) AS ("
    "SELECT number, prev FROM events WHERE number = ANY($1)"
    " UNION SELECT e.number, e.prev FROM unseen u CROSS JOIN LATERAL"
    " (SELECT number, prev FROM events WHERE number = ANY(u.prev) AND anchor IS NULL AND state_before IS NOT NULL) e"
    ") SELECT unnest(prev) FROM (SELECT prev FROM unseen LIMIT $2) AS nearest",
)
# No event is less deep.
LOWEST = -(2**63)
IDS = Statement("list_event_ids", "bigint[]", "SELECT number, event_id FROM events WHERE number = ANY($1)")
CLIENTS = Statement("list_client_members", "bigint[]", "SELECT number, client FROM events WHERE number = ANY($1)")


@dataclass(frozen=True, slots=True)
class PduRow:
    """An event as other servers are told of it.

    `state_before` is the group of the state before it, None for an outlier; `partial`: that state is not complete.
    """

    number: int
    event_id: str
    room: int
    depth: int
    type: str
    state_key: str | None
    sender: str
    state_before: int | None
    rejected: bool
    partial: bool
    client: str
    wire: str


class PduText(NamedTuple):
    """What is told of an event that was not rejected. A tuple like the row: a room's whole state is made of them."""

    number: int
    event_id: str
    type: str
    client: str
    wire: str


class Graph:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, event_id: str) -> PduRow | None:
        rows = self._transaction.fetch(FIND, event_id)
        return PduRow(*rows[0]) if rows else None

    def list_pdus(self, numbers: Iterable[int]) -> dict[int, PduRow]:
        """By number."""
        wanted = list(numbers)
        return {row[0]: PduRow(*row) for row in self._transaction.fetch(LIST, wanted)} if wanted else {}

    def list_texts(self, numbers: Iterable[int]) -> dict[int, PduText]:
        """By number. What was rejected is left out."""
        wanted = list(numbers)
        return {row[0]: PduText._make(row) for row in self._transaction.fetch(TEXTS, wanted)} if wanted else {}

    def list_ids(self, numbers: Iterable[int]) -> dict[int, str]:
        """Event ids by number."""
        wanted = list(numbers)
        return {number: event_id for number, event_id in self._transaction.fetch(IDS, wanted)} if wanted else {}

    def list_clients(self, numbers: Iterable[int]) -> dict[int, str]:
        """Of each event, the members that clients see, by number."""
        wanted = list(numbers)
        return {number: client for number, client in self._transaction.fetch(CLIENTS, wanted)} if wanted else {}

    def walk_auth_chain(self, room: int, numbers: Iterable[int], limit: int) -> list[int]:
        """What authorises these events of a room, directly or not: at most `limit` of it, nearest first."""
        wanted = list(numbers)
        return [row[0] for row in self._transaction.fetch(AUTH_CHAIN, room, wanted, limit)] if wanted else []

    def list_behind_unseen(self, numbers: Iterable[int], limit: int) -> set[int]:
        """What these events that nobody sees follow, directly or behind others of the kind: of the nearest `limit`."""
        return {row[0] for row in self._transaction.fetch(BEHIND_UNSEEN, list(numbers), limit)}

    def walk_backwards(
        self, room: int, latest: Sequence[str], limit: int, *, earliest: Sequence[str] = (), min_depth: int = LOWEST
    ) -> list[int]:
        """The events `latest`, as far as they are known, and then what they follow, level by level: at most `limit`
        events, none of `earliest`, none that is less deep than `min_depth`, and nothing that is only behind these."""
        rows = self._transaction.fetch(BACKWARDS, room, list(latest), list(earliest), min_depth, limit)
        return [row[0] for row in rows]
