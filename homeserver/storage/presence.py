"""Presence as it was told last, with its position, so that it is known after a restart; and where it is told."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from homeserver.storage.transaction import Statement, Transaction

COLUMNS = "user_id, presence, currently_active, status_msg, last_active_ts, position, rooms"
# Rooms in which nobody of this server is do not count.
ROOMS = Statement(
    "list_presence_rooms",
    "text[], int, int",
    "SELECT w.user_id, f.room, f.joined FROM unnest($1) AS w(user_id) CROSS JOIN LATERAL ("
    "SELECT m.room, r.joined FROM memberships m JOIN rooms r ON r.number = m.room"
    " WHERE m.user_id = w.user_id AND m.membership = 'join' AND r.joined > 1 AND r.joined <= $2"
    " AND (m.local OR EXISTS (SELECT 1 FROM memberships l WHERE l.room = m.room AND l.local AND l.membership = 'join'))"
    " ORDER BY r.joined, m.room LIMIT $3) f",
)
MEMBERS = Statement(
    "list_presence_members",
    "bigint[], int",
    "SELECT m.user_id FROM rooms r JOIN memberships m ON m.room = r.number AND m.membership = 'join'"
    " WHERE r.number = ANY($1) AND r.joined <= $2",
)
SHARED = Statement(
    "find_shared_room",
    "text, text",
    "SELECT 1 FROM memberships a JOIN memberships b ON b.room = a.room WHERE a.user_id = $1 AND b.user_id = $2"
    " AND a.membership = 'join' AND b.membership = 'join' LIMIT 1",
)


@dataclass(frozen=True, slots=True)
class PresenceRow:
    """`last_active`: ms, 0: not known."""

    user_id: str
    presence: str
    currently_active: bool
    status_msg: str | None
    last_active: int
    position: int
    rooms: Sequence[int]


@dataclass(frozen=True, slots=True)
class PresenceRoom:
    """`joined`: how many are."""

    number: int
    joined: int


class Presences:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, rows: Iterable[PresenceRow]) -> None:
        self._transaction.defer_rows(
            f"INSERT INTO presence ({COLUMNS})",
            "(%s, %s, %s, %s, %s, %s, %s::bigint[])",
            [
                (
                    one.user_id,
                    one.presence,
                    one.currently_active,
                    one.status_msg,
                    one.last_active,
                    one.position,
                    list(one.rooms),
                )
                for one in rows
            ],
            "ON CONFLICT (user_id) DO UPDATE SET presence = EXCLUDED.presence,"
            " currently_active = EXCLUDED.currently_active, status_msg = EXCLUDED.status_msg,"
            " last_active_ts = EXCLUDED.last_active_ts, position = EXCLUDED.position, rooms = EXCLUDED.rooms",
        )

    def remove(self, user_ids: Sequence[str]) -> None:
        if user_ids:
            self._transaction.defer_text("DELETE FROM presence WHERE user_id = ANY(%s)", list(user_ids))

    def list_all(self) -> list[PresenceRow]:
        """In the order of their positions."""
        rows = self._transaction.text(f"SELECT {COLUMNS} FROM presence ORDER BY position, user_id")
        return [PresenceRow(*row) for row in rows]

    def list_rooms(self, user_ids: Collection[str], members: int, limit: int) -> dict[str, list[PresenceRoom]]:
        """By user: the rooms with others in them and at most `members` members, the smallest first."""
        found: dict[str, list[PresenceRoom]] = {user_id: [] for user_id in user_ids}
        for user_id, *room in self._transaction.fetch(ROOMS, list(found), members, limit) if found else ():
            found[user_id].append(PresenceRoom(*room))
        return found

    def list_members(self, rooms: Collection[int], members: int) -> set[str]:
        """Who is in any of those rooms that have at most so many members."""
        found = self._transaction.fetch(MEMBERS, list(rooms), members) if rooms else []
        return {row[0] for row in found}

    def share_a_room(self, user_id: str, other: str) -> bool:
        return bool(self._transaction.fetch(SHARED, user_id, other))
