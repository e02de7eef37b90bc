"""The rows of rooms: a room's row is its lock, its place in the event graph and its latest counters."""

from dataclasses import dataclass
from typing import Any

from homeserver.domain.errors import NotFound
from homeserver.storage.transaction import Row, Statement, Transaction

COLUMNS = (
    "r.number, r.room_id, r.version, r.extremities, r.extremity_ids, r.depth, r.state_group, r.state_version,"
    " r.state_generation, r.state_complete, r.joined, r.invited, r.open_history, r.published, r.last_anchor,"
    " r.classes, r.ordinals"
)

LOCK = Statement("lock_room", "text", "SELECT 1 FROM rooms WHERE room_id = $1 FOR NO KEY UPDATE")
FIND = Statement("find_room", "text", f"SELECT {COLUMNS} FROM rooms r WHERE room_id = $1")
# After LOCK, in a statement of its own: its snapshot then holds what the one before us committed.
FIND_WITH_TRANSACTION = Statement(
    "find_room_with_transaction",
    "text, text, text, text, text",
    f"SELECT {COLUMNS}, (SELECT e.event_id FROM events e WHERE e.txn_id = $2 AND e.room = r.number AND e.sender = $3"
    " AND e.device_id = $4 AND e.type = $5 LIMIT 1) FROM rooms r WHERE r.room_id = $1",
)
FIND_TO_ENTER = Statement(
    "find_room_to_enter",
    "text, text",
    f"SELECT {COLUMNS}, EXISTS (SELECT 1 FROM memberships m WHERE m.room = r.number AND m.local"
    " AND m.membership = 'join'), EXISTS (SELECT 1 FROM users u WHERE u.user_id = $2 AND u.guest)"
    " FROM rooms r WHERE r.room_id = $1",
)
FIND_BY_NUMBERS = Statement(
    "find_rooms", "bigint[]", f"SELECT {COLUMNS} FROM rooms r WHERE r.number = ANY($1) ORDER BY r.number"
)
INSERT = (
    "INSERT INTO rooms (number, room_id, version, extremities, extremity_ids, depth, state_group, state_version,"
    " state_generation, joined, invited, open_history, last_anchor, created_ts, published, classes, ordinals)"
    " VALUES ($1, $2, $3, '{}', '{}', 0, 0, 0, 0, 0, 0, true, 0, $4, $5, $6, $7)"
)
ADD = Statement("add_room", "bigint, text, text, bigint, boolean, text[], int[]", INSERT)
ADD_IF_ABSENT = Statement(
    "add_absent_room",
    "bigint, text, text, bigint, boolean, text[], int[]",
    INSERT + " ON CONFLICT (room_id) DO NOTHING",
)
ADVANCE = Statement(
    "advance_room",
    "bigint, bigint[], text[], bigint, bigint, int[]",
    "UPDATE rooms SET extremities = $2, extremity_ids = $3, depth = $4, last_anchor = $5, ordinals = $6"
    " WHERE number = $1",
)
# Both in one: each UPDATE writes the row anew.
ADVANCE_WITH_STATE = Statement(
    "advance_room_state",
    "bigint, bigint[], text[], bigint, bigint, int[], bigint, bigint, int, int, int, boolean, text[]",
    "UPDATE rooms SET extremities = $2, extremity_ids = $3, depth = $4, last_anchor = $5, ordinals = $6,"
    " state_group = $7, state_version = $8, state_generation = $9, joined = $10, invited = $11, open_history = $12,"
    " classes = $13 WHERE number = $1",
)
# Whether anybody of this server is joined.
RESIDENT = Statement(
    "find_resident_room",
    "text",
    "SELECT r.number, r.version, EXISTS (SELECT 1 FROM memberships m WHERE m.room = r.number AND m.local"
    " AND m.membership = 'join') FROM rooms r WHERE r.room_id = $1",
)
IS_RESIDENT = Statement(
    "is_resident_room",
    "bigint",
    "SELECT 1 FROM memberships WHERE room = $1 AND local AND membership = 'join' LIMIT 1",
)
SET_CLASSES = Statement(
    "set_room_classes", "bigint, text[], int[]", "UPDATE rooms SET classes = $2, ordinals = $3 WHERE number = $1"
)


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room as its row says. `number` is internal; groups and extremities are internal numbers too."""

    number: int
    room_id: str
    version: str
    extremities: list[int]
    extremity_ids: list[str]
    depth: int
    state_group: int
    state_version: int
    state_generation: int
    state_complete: bool
    joined: int
    invited: int
    open_history: bool
    published: bool
    last_anchor: int
    classes: list[str]
    ordinals: list[int]


class Rooms:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def lock(self, room_id: str) -> RoomRow:
        """The room, with its row locked until the end of the transaction; raises NotFound."""
        self._transaction.defer(LOCK, room_id)
        return _one(self._transaction.fetch(FIND, room_id), room_id)

    def lock_for(self, room_id: str, txn_id: str, sender: str, device_id: str, type: str) -> tuple[RoomRow, str | None]:
        """As `lock`, with the id of the event of `type` that this device already sent with `txn_id`."""
        self._transaction.defer(LOCK, room_id)
        rows = self._transaction.fetch(FIND_WITH_TRANSACTION, room_id, txn_id, sender, device_id, type)
        known = rows[0][-1] if rows else None
        return _one([row[:-1] for row in rows], room_id), known

    def lock_to_enter(self, room_id: str, user_id: str) -> tuple[RoomRow, bool, bool]:
        """As `lock`, with whether anybody of this server is joined, and whether this user is a guest."""
        self._transaction.defer(LOCK, room_id)
        rows = self._transaction.fetch(FIND_TO_ENTER, room_id, user_id)
        row = _one([row[:-2] for row in rows], room_id)
        return row, rows[0][-2], rows[0][-1]

    def get(self, room_id: str) -> RoomRow:
        """Raises NotFound."""
        return _one(self._transaction.fetch(FIND, room_id), room_id)

    def find(self, room_id: str) -> RoomRow | None:
        rows = self._transaction.fetch(FIND, room_id)
        return RoomRow(*rows[0]) if rows else None

    def find_residence(self, room_id: str) -> tuple[int, str, bool] | None:
        """(number, room version, is anybody of this server joined?) of a room that is known."""
        rows = self._transaction.fetch(RESIDENT, room_id)
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def is_resident(self, number: int) -> bool:
        """Whether anybody of this server is joined."""
        return bool(self._transaction.fetch(IS_RESIDENT, number))

    def list_by_numbers(self, numbers: list[int]) -> list[RoomRow]:
        return [RoomRow(*row) for row in self._transaction.fetch(FIND_BY_NUMBERS, numbers)] if numbers else []

    def list_numbers(self, room_ids: list[str]) -> dict[str, int]:
        """The number of each of those rooms that is known."""
        rows = self._transaction.text("SELECT room_id, number FROM rooms WHERE room_id = ANY(%s)", room_ids)
        return {room_id: number for room_id, number in rows}

    def add(self, room: RoomRow, created_ts: int) -> None:
        """A room without events."""
        self._transaction.defer(
            ADD, room.number, room.room_id, room.version, created_ts, room.published, room.classes, room.ordinals
        )

    def add_if_absent(self, room: RoomRow, created_ts: int) -> None:
        """As `add`, unless somebody else has added the room meanwhile."""
        self._transaction.defer(
            ADD_IF_ABSENT, room.number, room.room_id, room.version, created_ts, room.published, room.classes,
            room.ordinals,
        )  # fmt: skip

    def set_place(self, room: RoomRow) -> None:
        """Its extremities, depth, newest anchor and ordinals."""
        self._transaction.defer(ADVANCE, *_place(room))

    def set_place_and_state(self, room: RoomRow) -> None:
        """As `set_place`, and what follows from its current state."""
        self._transaction.defer(
            ADVANCE_WITH_STATE,
            *_place(room),
            room.state_group,
            room.state_version,
            room.state_generation,
            room.joined,
            room.invited,
            room.open_history,
            room.classes,
        )

    def set_classes(self, number: int, classes: list[str], ordinals: list[int]) -> None:
        self._transaction.defer(SET_CLASSES, number, classes, ordinals)

    def set_version(self, number: int, version: str) -> None:
        """Of a room without a state."""
        self._transaction.defer_text("UPDATE rooms SET version = %s WHERE number = %s", version, number)

    def set_published(self, number: int, published: bool) -> None:
        self._transaction.defer_text("UPDATE rooms SET published = %s WHERE number = %s", published, number)


def _place(room: RoomRow) -> tuple[Any, ...]:
    return room.number, room.extremities, room.extremity_ids, room.depth, room.last_anchor, room.ordinals


def _one(rows: list[Row], room_id: str) -> RoomRow:
    if not rows:
        raise NotFound(f"No room {room_id} is known here")
    return RoomRow(*rows[0])
