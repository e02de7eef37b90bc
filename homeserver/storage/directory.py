"""Room aliases of this server, and the rooms that it publishes in its directory."""

from dataclasses import dataclass

from homeserver.storage.transaction import Statement, Transaction

# The greatest number of members that a column holds: a place before all rooms.
MOST_JOINED = 2**31 - 1
AFTER = Statement(
    "list_published_after",
    "int, bigint, int",
    "SELECT joined, number FROM rooms WHERE published AND joined > 0 AND (joined < $1 OR (joined = $1 AND number > $2))"
    " ORDER BY joined DESC, number LIMIT $3",
)
BEFORE = Statement(
    "list_published_before",
    "int, bigint, int",
    "SELECT joined, number FROM rooms WHERE published AND joined > 0 AND (joined > $1 OR (joined = $1 AND number < $2))"
    " ORDER BY joined, number DESC LIMIT $3",
)


@dataclass(frozen=True, slots=True)
class AliasRow:
    """`room` is the room's internal number."""

    alias: str
    room: int
    room_id: str
    creator: str


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """Where a published room stands: those with most members first, among equals the older one."""

    joined: int
    number: int


class Directory:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add_alias(self, alias: str, room: int, creator: str) -> bool:
        """False if the alias is taken."""
        rows = self._transaction.text(
            "INSERT INTO aliases (alias, room, creator) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
            alias,
            room,
            creator,
        )
        return bool(rows)

    def remove_alias(self, alias: str) -> None:
        self._transaction.defer_text("DELETE FROM aliases WHERE alias = %s", alias)

    def move_aliases(self, before: int, after: int) -> list[str]:
        """All aliases of one room lead to another one from now on; which they are."""
        sql = "UPDATE aliases SET room = %s WHERE room = %s RETURNING alias"
        return sorted(row[0] for row in self._transaction.text(sql, after, before))

    def find_alias(self, alias: str) -> AliasRow | None:
        rows = self._transaction.text(
            "SELECT a.alias, a.room, r.room_id, a.creator FROM aliases a JOIN rooms r ON r.number = a.room"
            " WHERE a.alias = %s",
            alias,
        )
        return AliasRow(*rows[0]) if rows else None

    def find_room_id(self, alias: str) -> str | None:
        row = self.find_alias(alias)
        return None if row is None else row.room_id

    def list_aliases(self, room: int) -> list[str]:
        """In the order of the alphabet."""
        rows = self._transaction.text("SELECT alias FROM aliases WHERE room = %s ORDER BY alias", room)
        return [row[0] for row in rows]

    def count_aliases(self, room: int) -> int:
        count: int = self._transaction.text("SELECT count(*) FROM aliases WHERE room = %s", room)[0][0]
        return count

    def list_servers(self, room: int, among: int, limit: int) -> list[str]:
        """Servers of the room's joined members, of the first `among` ones from other servers."""
        rows = self._transaction.text(
            "SELECT server FROM (SELECT position, substr(user_id, strpos(user_id, ':') + 1) AS server FROM memberships"
            " WHERE room = %s AND membership = 'join' AND NOT local ORDER BY position, user_id LIMIT %s) m"
            " GROUP BY server ORDER BY min(position), server LIMIT %s",
            room,
            among,
            limit,
        )
        return [row[0] for row in rows]

    def count_published(self) -> int:
        """Those that nobody is in are not shown."""
        count: int = self._transaction.text("SELECT count(*) FROM rooms WHERE published AND joined > 0")[0][0]
        return count

    def list_published(self, place: DirectoryPlace, limit: int, *, backwards: bool = False) -> list[DirectoryPlace]:
        """The published rooms that come after a place, or (`backwards`) before it, nearest first."""
        order = BEFORE if backwards else AFTER
        rows = self._transaction.fetch(order, place.joined, place.number, limit)
        return [DirectoryPlace(*row) for row in rows]
