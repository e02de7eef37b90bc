"""The relations of events: which events point at another one, and how.

A row stands here as long as its event is visible in the room and not redacted. Whether the event that it points at is
known, lies in the same room, or may be pointed at so is asked when the relation is read.
https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from homeserver.storage.history import Place
from homeserver.storage.transaction import Statement, Transaction

COLUMNS = "event, room, event_id, relates_to, rel_type, key, type, sender, ts, anchor, rank, may_replace"
# What a recursion collects; the nearest generations come first.
MAX_COLLECTED = 10_000

ADD = Statement(
    "add_relation",
    "bigint, bigint, text, text, text, text, text, text, bigint, bigint, int, boolean",
    f"INSERT INTO relations ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    " ON CONFLICT DO NOTHING",
)
REMOVE = Statement("remove_relation", "bigint", "DELETE FROM relations WHERE event = $1")
PARENTS = Statement(
    "list_parents",
    "bigint[], text[]",
    "SELECT w.id FROM unnest($1, $2) AS w(room, id)"
    " WHERE EXISTS (SELECT 1 FROM relations r WHERE r.room = w.room AND r.relates_to = w.id)",
)
# $7: the rel_type, $8: the event type; NULL: all.
_WANTED = " AND ($7::text IS NULL OR r.rel_type = $7) AND ($8::text IS NULL OR r.type = $8)"
_PAGE = "bigint, text, bigint, int, bigint, int, text, text, int"
PAGE_BACKWARDS = Statement(
    "page_relations_backwards",
    _PAGE,
    "SELECT r.event FROM relations r WHERE r.room = $1 AND r.relates_to = $2 AND (r.anchor, r.rank) <= ($3, $4)"
    f" AND (r.anchor, r.rank) > ($5, $6){_WANTED} ORDER BY r.anchor DESC, r.rank DESC LIMIT $9",
)
PAGE_FORWARDS = Statement(
    "page_relations_forwards",
    _PAGE,
    "SELECT r.event FROM relations r WHERE r.room = $1 AND r.relates_to = $2 AND (r.anchor, r.rank) > ($3, $4)"
    f" AND (r.anchor, r.rank) <= ($5, $6){_WANTED} ORDER BY r.anchor, r.rank LIMIT $9",
)
# Breadth first, so that the nearest generations are there if it has to stop. Only the ids of version 1 and 2 rooms are
# chosen, and could make a circle: the depth ends it.
_DESCENDANTS = (
    "WITH RECURSIVE d(event, event_id, anchor, rank, depth) AS ("
    f"SELECT r.event, r.event_id, r.anchor, r.rank, 1 FROM relations r WHERE r.room = $1 AND r.relates_to = $2{_WANTED}"
    " UNION ALL"
    " SELECT r.event, r.event_id, r.anchor, r.rank, d.depth + 1 FROM d JOIN relations r"
    f" ON r.room = $1 AND r.relates_to = d.event_id WHERE d.depth < $10{_WANTED})"
    " SELECT DISTINCT c.anchor, c.rank, c.event"
    f" FROM (SELECT * FROM d LIMIT {MAX_COLLECTED}) c WHERE c.event_id <> $2"
)
DESCENDANTS_BACKWARDS = Statement(
    "page_descendants_backwards",
    f"{_PAGE}, int",
    f"{_DESCENDANTS} AND (c.anchor, c.rank) <= ($3, $4) AND (c.anchor, c.rank) > ($5, $6)"
    " ORDER BY c.anchor DESC, c.rank DESC LIMIT $9",
)
DESCENDANTS_FORWARDS = Statement(
    "page_descendants_forwards",
    f"{_PAGE}, int",
    f"{_DESCENDANTS} AND (c.anchor, c.rank) > ($3, $4) AND (c.anchor, c.rank) <= ($5, $6)"
    " ORDER BY c.anchor, c.rank LIMIT $9",
)
EDITS = Statement(
    "list_edits",
    "bigint, text[], text[], text[], bigint, int",
    "SELECT w.id, e.event FROM unnest($2, $3, $4) AS w(id, sender, type) CROSS JOIN LATERAL ("
    "SELECT r.event, r.ts, r.event_id FROM relations r WHERE r.room = $1 AND r.relates_to = w.id"
    " AND r.rel_type = 'm.replace' AND r.sender = w.sender AND r.type = w.type AND r.may_replace AND r.anchor <= $5"
    # "if two or more replacement events have identical origin_server_ts, the event with the lexicographically largest
    # event_id is treated as more recent"
    ' ORDER BY r.ts DESC, r.event_id COLLATE "C" DESC LIMIT $6) e'
    ' ORDER BY w.id, e.ts DESC, e.event_id COLLATE "C" DESC',
)
CHILDREN = Statement(
    "list_children",
    "bigint, text[], text, text[], bigint, int",
    "SELECT w.id, c.event, c.event_id FROM unnest($2) AS w(id) CROSS JOIN LATERAL ("
    "SELECT r.event, r.event_id, r.anchor, r.rank FROM relations r WHERE r.room = $1 AND r.relates_to = w.id"
    " AND r.rel_type = $3 AND r.sender <> ALL($4) AND r.anchor <= $5"
    " ORDER BY r.anchor DESC, r.rank DESC LIMIT $6) c ORDER BY w.id, c.anchor DESC, c.rank DESC",
)
COUNT = Statement(
    "count_children",
    "bigint, text[], text, text[], bigint",
    "SELECT w.id, (SELECT count(*) FROM relations r WHERE r.room = $1 AND r.relates_to = w.id AND r.rel_type = $3"
    " AND r.sender <> ALL($4) AND r.anchor <= $5) FROM unnest($2) AS w(id)",
)
SENT_BY = Statement(
    "list_parents_of_sender",
    "bigint, text[], text, text",
    "SELECT w.id FROM unnest($2) AS w(id) WHERE EXISTS (SELECT 1 FROM relations r WHERE r.room = $1"
    " AND r.relates_to = w.id AND r.rel_type = $3 AND r.sender = $4)",
)
ANNOTATED = Statement(
    "has_annotated",
    "bigint, text, text, text, text",
    "SELECT 1 FROM relations r WHERE r.room = $1 AND r.relates_to = $2 AND r.rel_type = 'm.annotation'"
    " AND r.sender = $3 AND r.type = $4 AND r.key = $5 LIMIT 1",
)


@dataclass(frozen=True, slots=True)
class RelationRow:
    """`event` and `room` are internal numbers; (`anchor`, `rank`) is the event's place."""

    event: int
    room: int
    event_id: str
    relates_to: str
    rel_type: str
    key: str | None
    type: str
    sender: str
    ts: int
    anchor: int
    rank: int
    may_replace: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which relations are asked for: of which kind (None: all), and how many generations."""

    rel_type: str | None = None
    type: str | None = None
    depth: int = 1


class Relations:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, row: RelationRow) -> None:
        self._transaction.defer(
            ADD, row.event, row.room, row.event_id, row.relates_to, row.rel_type, _storable(row.key), row.type,
            row.sender, row.ts, row.anchor, row.rank, row.may_replace,
        )  # fmt: skip

    def remove(self, event: int) -> None:
        """The event relates to nothing any more."""
        self._transaction.defer(REMOVE, event)

    def list_parents(self, events: Iterable[tuple[int, str]]) -> set[str]:
        """Those of `events`, (room, event id), at which others point."""
        pairs = list(events)
        if not pairs:
            return set()
        rooms, ids = zip(*pairs, strict=True)
        return {row[0] for row in self._transaction.fetch(PARENTS, list(rooms), list(ids))}

    def page_backwards(
        self, room: int, parent: str, wanted: Wanted, start: Place, stop: Place, limit: int
    ) -> list[int]:
        """The numbers of events that point at `parent`, at or before `start` and after `stop`, newest first."""
        return self._page((PAGE_BACKWARDS, DESCENDANTS_BACKWARDS), room, parent, wanted, (start, stop), limit)

    def page_forwards(self, room: int, parent: str, wanted: Wanted, start: Place, stop: Place, limit: int) -> list[int]:
        """The numbers of events that point at `parent`, after `start` and at or before `stop`, oldest first."""
        return self._page((PAGE_FORWARDS, DESCENDANTS_FORWARDS), room, parent, wanted, (start, stop), limit)

    def _page(
        self,
        statements: tuple[Statement, Statement],
        room: int,
        parent: str,
        wanted: Wanted,
        places: tuple[Place, Place],
        limit: int,
    ) -> list[int]:
        start, stop = places
        arguments = (
            room, parent, start.anchor, start.rank, stop.anchor, stop.rank, wanted.rel_type, wanted.type, limit,
        )  # fmt: skip
        if wanted.depth == 1:
            return [row[0] for row in self._transaction.fetch(statements[0], *arguments)]
        return [row[2] for row in self._transaction.fetch(statements[1], *arguments, wanted.depth)]

    def list_edits(
        self, room: int, parents: Sequence[tuple[str, str, str]], upto: int, most: int
    ) -> dict[str, list[int]]:
        """The numbers of the newest edits of each parent, newest first: at most `most`, up to the anchor `upto`.
        `parents`: (event id, sender, type), for an edit has its parent's sender and type."""
        if not parents:
            return {}
        ids, senders, types = (list(column) for column in zip(*parents, strict=True))
        found: dict[str, list[int]] = {}
        for parent, event in self._transaction.fetch(EDITS, room, ids, senders, types, upto, most):
            found.setdefault(parent, []).append(event)
        return found

    def list_children(
        self, room: int, parents: Collection[str], rel_type: str, without: Collection[str], upto: int, most: int
    ) -> dict[str, list[tuple[int, str]]]:
        """The newest children of each parent, newest first: (number, event id); none sent by `without`."""
        found: dict[str, list[tuple[int, str]]] = {}
        if parents:
            for parent, event, event_id in self._transaction.fetch(
                CHILDREN, room, list(parents), rel_type, list(without), upto, most
            ):
                found.setdefault(parent, []).append((event, event_id))
        return found

    def count_children(
        self, room: int, parents: Collection[str], rel_type: str, without: Collection[str], upto: int
    ) -> dict[str, int]:
        """How many children each parent has; none sent by `without`."""
        if not parents:
            return {}
        rows = self._transaction.fetch(COUNT, room, list(parents), rel_type, list(without), upto)
        return {parent: count for parent, count in rows}

    def list_parents_of(self, room: int, parents: Collection[str], rel_type: str, sender: str) -> set[str]:
        """Those of `parents` at which an event of `sender` points."""
        if not parents:
            return set()
        return {row[0] for row in self._transaction.fetch(SENT_BY, room, list(parents), rel_type, sender)}

    def has_annotated(self, room: int, parent: str, sender: str, type: str, key: str) -> bool:
        """Whether `sender` annotated the event in this way already."""
        return bool(self._transaction.fetch(ANNOTATED, room, parent, sender, type, _storable(key)))


def _storable(key: str | None) -> str | None:
    """A key may be any string, and no text of PostgreSQL can hold U+0000."""
    return None if key is None else key.replace("\0", "\N{REPLACEMENT CHARACTER}")
