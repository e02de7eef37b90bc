"""What is asked of many rooms at once to show them to somebody who may not be in them: summaries and spaces."""

from collections.abc import Sequence

from homeserver.storage.transaction import Statement, Transaction

RESIDENT = Statement(
    "list_resident_rooms",
    "bigint[]",
    "SELECT w.room FROM unnest($1) AS w(room) WHERE EXISTS (SELECT 1 FROM memberships m WHERE m.room = w.room"
    " AND m.local AND m.membership = 'join')",
)
MEMBERSHIPS = Statement(
    "list_memberships_in_rooms",
    "text, bigint[]",
    "SELECT room, membership FROM memberships WHERE user_id = $1 AND room = ANY($2)",
)
JOINED_AMONG = Statement(
    "list_joined_among",
    "text, text[]",
    "SELECT r.room_id FROM rooms r JOIN memberships m ON m.room = r.number WHERE r.room_id = ANY($2)"
    " AND m.user_id = $1 AND m.membership = 'join'",
)
STATE = Statement(
    "list_state_of_rooms",
    "bigint[], int[], int[]",
    "SELECT c.room, c.key, c.event FROM unnest($1, $2) AS w(room, generation) CROSS JOIN unnest($3) AS k(key)"
    " JOIN current_state c ON c.room = w.room AND c.generation = w.generation AND c.key = k.key",
)
# Reads the whole state of each room: as much as the room is large, whatever else there is.
CHILDREN = Statement(
    "list_space_children",
    "bigint[], int[], int",
    "SELECT w.room, c.event FROM unnest($1, $2) AS w(room, generation) CROSS JOIN LATERAL ("
    "SELECT c.event FROM current_state c JOIN state_keys k ON k.number = c.key WHERE c.room = w.room"
    " AND c.generation = w.generation AND k.type = 'm.space.child' ORDER BY c.event LIMIT $3) c",
)


class Previews:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_resident(self, rooms: Sequence[int]) -> set[int]:
        """Those of `rooms` that somebody of this server is joined to: what is known of others may be old."""
        return {row[0] for row in self._transaction.fetch(RESIDENT, list(rooms))} if rooms else set()

    def list_memberships(self, user_id: str, rooms: Sequence[int]) -> dict[int, str]:
        """The user's membership of each of `rooms` that has one."""
        rows = self._transaction.fetch(MEMBERSHIPS, user_id, list(rooms)) if rooms else []
        return {room: membership for room, membership in rows}

    def list_joined_among(self, user_id: str, room_ids: Sequence[str]) -> set[str]:
        """Those of `room_ids` that the user is joined to."""
        wanted = [room_id for room_id in room_ids if "\0" not in room_id]
        return {row[0] for row in self._transaction.fetch(JOINED_AMONG, user_id, wanted)} if wanted else set()

    def list_state(self, rooms: Sequence[tuple[int, int]], keys: Sequence[int]) -> dict[int, dict[int, int]]:
        """By room: event number by key number, of its current state at `keys`. `rooms`: (number, generation)."""
        found: dict[int, dict[int, int]] = {number: {} for number, _ in rooms}
        if rooms:
            numbers, generations = [one[0] for one in rooms], [one[1] for one in rooms]
            for room, key, event in self._transaction.fetch(STATE, numbers, generations, list(keys)):
                found[room][key] = event
        return found

    def list_children(self, rooms: Sequence[tuple[int, int]], limit: int) -> dict[int, list[int]]:
        """By room: numbers of the m.space.child events of its current state. `rooms`: (number, state generation)."""
        found: dict[int, list[int]] = {number: [] for number, _ in rooms}
        if rooms:
            numbers, generations = [one[0] for one in rooms], [one[1] for one in rooms]
            for room, event in self._transaction.fetch(CHILDREN, numbers, generations, limit):
                found[room].append(event)
        return found
