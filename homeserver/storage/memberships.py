"""Who is in which room: a projection of the current state, and what users forgot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeserver.storage.events import COLUMNS as EVENT_COLUMNS
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.rooms import COLUMNS as ROOM_COLUMNS
from homeserver.storage.rooms import RoomRow
from homeserver.storage.transaction import Row, Statement, Transaction

COLUMNS = "user_id, room, membership, event, position, sender, local, display_name"
ROOM_WIDTH, MEMBERSHIP_WIDTH = ROOM_COLUMNS.count(",") + 1, COLUMNS.count(",") + 1
REMEMBER = Statement("remember_room", "text, bigint", "DELETE FROM forgotten WHERE user_id = $1 AND room = $2")
SET = Statement(
    "set_membership",
    "text, bigint, text, bigint, bigint, text, boolean, text",
    f"INSERT INTO memberships ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (user_id, room)"
    " DO UPDATE SET membership = EXCLUDED.membership, event = EXCLUDED.event, position = EXCLUDED.position,"
    " sender = EXCLUDED.sender, display_name = EXCLUDED.display_name",
)
SET_MANY = Statement(
    "set_memberships",
    "bigint, bigint, text[], text[], bigint[], text[], boolean[], text[]",
    f"INSERT INTO memberships ({COLUMNS})"
    " SELECT u, $1, m, e, $2, s, l, n FROM unnest($3, $4, $5, $6, $7, $8) AS w(u, m, e, s, l, n)"
    " ON CONFLICT (user_id, room)"
    " DO UPDATE SET membership = EXCLUDED.membership, event = EXCLUDED.event, position = EXCLUDED.position,"
    " sender = EXCLUDED.sender, display_name = EXCLUDED.display_name",
)
FIND = Statement(
    "find_membership", "text, bigint", f"SELECT {COLUMNS} FROM memberships WHERE user_id = $1 AND room = $2"
)
_IN_ROOM = (
    f"{ROOM_COLUMNS}, m.user_id, m.room, m.membership, m.event, m.position, m.sender, m.local, m.display_name"
    "%s FROM rooms r LEFT JOIN memberships m ON m.room = r.number AND m.user_id = $1 WHERE r.room_id = $2"
)
FIND_IN_ROOM = Statement("find_room_with_membership", "text, text", f"SELECT {_IN_ROOM % ''}")
FIND_READER = Statement(
    "find_room_for_reader",
    "text, text",
    "SELECT "
    + _IN_ROOM
    % (
        ", EXISTS (SELECT 1 FROM events g WHERE g.room = r.number AND g.gap_before AND g.anchor IS NOT NULL),"
        " (SELECT a.content FROM account_data a WHERE a.user_id = $1 AND a.room = 0 AND a.type = 'm.ignored_user_list')"
    ),
)
LOCK = Statement(
    "lock_membership", "text, bigint", "SELECT 1 FROM memberships WHERE user_id = $1 AND room = $2 FOR NO KEY UPDATE"
)
OF_USER = Statement("memberships_of_user", "text", f"SELECT {COLUMNS} FROM memberships WHERE user_id = $1")
OF_ROOM = Statement(
    "memberships_of_room",
    "bigint, text[], int",
    f"SELECT {COLUMNS} FROM memberships WHERE room = $1 AND membership = ANY($2) ORDER BY position, user_id LIMIT $3",
)
LOCAL_JOINED = Statement(
    "local_joined",
    "bigint, text[]",
    "SELECT user_id, display_name FROM memberships WHERE room = $1 AND user_id = ANY($2) AND membership = 'join'"
    " AND local",
)
FIRST_CHANGES = Statement(
    "first_changes_of_key",
    "int, bigint",
    "SELECT DISTINCT ON (room) room, before FROM state_changes WHERE key = $1 AND position > $2"
    " ORDER BY room, position",
)
HEROES = Statement(
    "heroes",
    "bigint[], text",
    "SELECT w.room, m.user_id FROM unnest($1) AS w(room) CROSS JOIN LATERAL ("
    # Two short walks along the index; asked with IN, all members would be sorted.
    "(SELECT user_id, position FROM memberships WHERE room = w.room AND membership = 'join' AND user_id <> $2"
    " ORDER BY position, user_id LIMIT 5) UNION ALL"
    " (SELECT user_id, position FROM memberships WHERE room = w.room AND membership = 'invite' AND user_id <> $2"
    " ORDER BY position, user_id LIMIT 5) ORDER BY position, user_id LIMIT 5) m"
    " ORDER BY w.room, m.position, m.user_id",
)
FIRST = Statement(
    "first_members",
    "bigint, int",
    "(SELECT user_id, position FROM memberships WHERE room = $1 AND membership = 'join'"
    " ORDER BY position, user_id LIMIT $2) UNION ALL"
    " (SELECT user_id, position FROM memberships WHERE room = $1 AND membership = 'invite'"
    " ORDER BY position, user_id LIMIT $2) ORDER BY position, user_id LIMIT $2",
)
MEMBER_EVENTS = Statement(
    "list_member_events",
    "bigint, text[]",
    f"SELECT {EVENT_COLUMNS} FROM memberships m JOIN events e ON e.number = m.event"
    " LEFT JOIN state_keys k ON k.number = e.key LEFT JOIN events b ON b.number = e.replaces"
    " WHERE m.room = $1 AND m.membership = ANY($2) ORDER BY m.position, m.user_id",
)
# PostgreSQL cannot look into JSON in which U+0000 stands anywhere, and a member event may hold it.
CHANGES_BEFORE = Statement(
    "list_changes_before",
    "bigint, int, bigint, int",
    "SELECT c.position, e.client FROM state_changes c LEFT JOIN events e ON e.number = c.after"
    " WHERE c.room = $1 AND c.key = $2 AND c.position < $3 ORDER BY c.position DESC LIMIT $4",
)
PAST_HEROES = Statement(
    "past_heroes",
    "bigint, text",
    "SELECT user_id FROM memberships WHERE room = $1 AND user_id <> $2 AND membership IN ('leave', 'ban')"
    " ORDER BY position, user_id LIMIT 5",
)


@dataclass(frozen=True, slots=True)
class MembershipRow:
    """`event` is the number of the member event; `position` since when; `sender` who made it so."""

    user_id: str
    room: int
    membership: str
    event: int
    position: int
    sender: str
    local: bool
    display_name: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """What somebody who pages through a room begins with. `ignored`: the content of their m.ignored_user_list;
    `has_gaps`: somewhere in the room's history events are missing."""

    row: RoomRow
    membership: MembershipRow | None
    has_gaps: bool
    ignored: str | None


class Memberships:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, row: MembershipRow) -> None:
        self._transaction.defer(
            SET, row.user_id, row.room, row.membership, row.event, row.position, row.sender, row.local, row.display_name
        )

    def put_many(self, room: int, position: int, rows: Sequence[MembershipRow]) -> None:
        """As `put`, of many members of one room at one position."""
        columns = [(row.user_id, row.membership, row.event, row.sender, row.local, row.display_name) for row in rows]
        if columns:
            self._transaction.defer(SET_MANY, room, position, *(list(one) for one in zip(*columns, strict=True)))

    def remove(self, user_id: str, room: int) -> None:
        """The room's state no longer says anything of the user."""
        self._transaction.defer_text("DELETE FROM memberships WHERE user_id = %s AND room = %s", user_id, room)

    def find(self, user_id: str, room: int) -> MembershipRow | None:
        rows = self._transaction.fetch(FIND, user_id, room)
        return MembershipRow(*rows[0]) if rows else None

    def find_in_room(self, user_id: str, room_id: str) -> tuple[RoomRow, MembershipRow | None] | None:
        """The room, and where the user stands in it; None if no such room is known."""
        rows = self._transaction.fetch(FIND_IN_ROOM, user_id, room_id)
        return _in_room(rows[0]) if rows else None

    def find_reader(self, user_id: str, room_id: str) -> Reader | None:
        """None if no such room is known."""
        rows = self._transaction.fetch(FIND_READER, user_id, room_id)
        return Reader(*_in_room(rows[0]), *rows[0][-2:]) if rows else None

    def lock(self, user_id: str, room: int) -> None:
        """What else locks this membership, or changes it, waits until the transaction ends."""
        self._transaction.defer(LOCK, user_id, room)

    def list_of_user(self, user_id: str) -> list[MembershipRow]:
        """Every room that the user has anything to do with."""
        return [MembershipRow(*row) for row in self._transaction.fetch(OF_USER, user_id)]

    def list_of_room(self, room: int, memberships: Iterable[str], limit: int = 1_000_000) -> list[MembershipRow]:
        """In the order of joining."""
        return [MembershipRow(*row) for row in self._transaction.fetch(OF_ROOM, room, list(memberships), limit)]

    def list_shared(self, user_id: str, other: str, after: int, limit: int) -> list[tuple[int, str]]:
        """(number, id) of rooms that both are joined to, by number, from the one after `after` on."""
        rows = self._transaction.text(
            "SELECT r.number, r.room_id FROM memberships a JOIN memberships b ON b.room = a.room"
            " JOIN rooms r ON r.number = a.room WHERE a.user_id = %s AND b.user_id = %s AND a.membership = 'join'"
            " AND b.membership = 'join' AND r.number > %s ORDER BY r.number LIMIT %s",
            user_id,
            other,
            after,
            limit,
        )
        return [(number, room_id) for number, room_id in rows]

    def count_shared(self, user_id: str, other: str) -> int:
        """How many rooms both are joined to."""
        count: int = self._transaction.text(
            "SELECT count(*) FROM memberships a JOIN memberships b ON b.room = a.room WHERE a.user_id = %s"
            " AND b.user_id = %s AND a.membership = 'join' AND b.membership = 'join'",
            user_id,
            other,
        )[0][0]
        return count

    def list_local_joined(self, room: int, user_ids: Iterable[str]) -> dict[str, str | None]:
        """Display names of those of `user_ids` who are joined and users of this server."""
        wanted = list(user_ids)
        return {row[0]: row[1] for row in self._transaction.fetch(LOCAL_JOINED, room, wanted)} if wanted else {}

    def list_before_first_change(self, key: int, after: int) -> dict[int, int | None]:
        """By room: the event that stood at state key number `key` before its first change after a position."""
        return {room: before for room, before in self._transaction.fetch(FIRST_CHANGES, key, after)}

    def list_heroes(self, rooms: list[int], viewer: str) -> dict[int, list[str]]:
        """By room: the first five others joined or invited."""
        heroes: dict[int, list[str]] = {room: [] for room in rooms}
        if rooms:
            for room, user_id in self._transaction.fetch(HEROES, rooms, viewer):
                heroes[room].append(user_id)
        return heroes

    def list_first(self, room: int, limit: int) -> list[str]:
        """The first members, joined or invited."""
        return [row[0] for row in self._transaction.fetch(FIRST, room, limit)]

    def list_member_events(self, room: int, memberships: Iterable[str]) -> list[EventRow]:
        """The member events of the current state with one of these memberships, in the order of joining."""
        return [EventRow._make(row) for row in self._transaction.fetch(MEMBER_EVENTS, room, list(memberships))]

    def find_last_stay(self, room: int, key: int) -> tuple[int, int | None] | None:
        """The positions at which the member event at state key number `key` last became a join, and at which it
        changed next."""
        before, page = 2**63 - 1, 20
        left: int | None = None
        while True:
            rows = self._transaction.fetch(CHANGES_BEFORE, room, key, before, page)
            for position, client in rows:
                if client is not None and parse_members(client)["content"].get("membership") == "join":
                    return position, left
                left = position
            if len(rows) < page:
                return None
            before = rows[-1][0]

    def list_past_heroes(self, room: int, viewer: str) -> list[str]:
        """The first five others who left or were banned."""
        return [row[0] for row in self._transaction.fetch(PAST_HEROES, room, viewer)]

    def forget(self, user_id: str, room: int, ts: int) -> None:
        self._transaction.defer_text(
            "INSERT INTO forgotten (user_id, room, ts) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", user_id, room, ts
        )

    def remember(self, user_id: str, room: int) -> None:
        """Whoever is invited or joins again has not forgotten the room."""
        self._transaction.defer(REMEMBER, user_id, room)

    def list_forgotten(self, user_id: str) -> set[int]:
        return {row[0] for row in self._transaction.text("SELECT room FROM forgotten WHERE user_id = %s", user_id)}

    def set_invite_state(self, user_id: str, room: int, events: str) -> None:
        """`events`: JSON list of stripped state."""
        self._transaction.defer_text(
            "INSERT INTO invite_states (user_id, room, events) VALUES (%s, %s, %s)"
            " ON CONFLICT (user_id, room) DO UPDATE SET events = EXCLUDED.events",
            user_id,
            room,
            events,
        )

    def list_invite_states(self, user_id: str, rooms: list[int]) -> dict[int, str]:
        if not rooms:
            return {}
        rows = self._transaction.text(
            "SELECT room, events FROM invite_states WHERE user_id = %s AND room = ANY(%s)", user_id, rooms
        )
        return {room: events for room, events in rows}


def _in_room(row: Row) -> tuple[RoomRow, MembershipRow | None]:
    mine = row[ROOM_WIDTH : ROOM_WIDTH + MEMBERSHIP_WIDTH]
    return RoomRow(*row[:ROOM_WIDTH]), None if mine[0] is None else MembershipRow(*mine)
