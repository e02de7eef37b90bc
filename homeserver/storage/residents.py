"""Which servers are in a room, and which of their users: asked of the memberships of the current state.

The server of a user is what follows the first colon of the user id; no suffix of it will do, for a port is no server.
"""

from collections.abc import Sequence

from homeserver.storage.transaction import Statement, Transaction

SERVER = "substr(user_id, strpos(user_id, ':') + 1)"
IS_JOINED = Statement(
    "is_server_joined",
    "bigint, text",
    f"SELECT 1 FROM memberships WHERE room = $1 AND membership = 'join' AND {SERVER} = $2 LIMIT 1",
)
USERS = Statement(
    "list_users_of_server",
    "bigint, text",
    f"SELECT user_id FROM memberships WHERE room = $1 AND {SERVER} = $2 ORDER BY position",
)
AMONG = Statement(
    "list_rooms_of_server",
    "text, bigint[], text[]",
    "SELECT w.room FROM unnest($2) AS w(room) WHERE EXISTS (SELECT 1 FROM memberships m WHERE m.room = w.room"
    f" AND m.membership = ANY($3) AND {SERVER} = $1)",
)
SERVERS = Statement(
    "list_servers_of_room",
    "bigint, int",
    f"SELECT {SERVER} FROM memberships WHERE room = $1 AND membership = 'join' AND NOT local GROUP BY 1"
    " ORDER BY min(position), count(*) DESC, 1 LIMIT $2",
)


class Residents:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def is_joined(self, room: int, server: str) -> bool:
        """Whether a user of the server is joined."""
        return bool(self._transaction.fetch(IS_JOINED, room, server))

    def list_rooms(self, server: str, rooms: Sequence[int], memberships: Sequence[str]) -> set[int]:
        """Those of `rooms` in which a user of the server has one of these memberships."""
        found = self._transaction.fetch(AMONG, server, list(rooms), list(memberships)) if rooms else []
        return {row[0] for row in found}

    def list_servers(self, room: int, limit: int) -> list[str]:
        """Other servers with joined users, those that are in the room for longest first."""
        return [row[0] for row in self._transaction.fetch(SERVERS, room, limit)]

    def list_users(self, room: int, server: str) -> list[str]:
        """The server's users of whom the room's state says anything."""
        return [row[0] for row in self._transaction.fetch(USERS, room, server)]
