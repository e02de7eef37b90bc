"""Which other servers are in a room, now and as of a position: kept by a projection of the memberships.

A row per server and room says how many of its users are joined. A journal notes when the first came and when the last
left, so that who was there at a position is found without looking at members.
"""

from collections.abc import Collection, Iterable, Mapping

from homeserver.storage.transaction import Statement, Transaction

# What is noted of a server at a position.
CAME, LEFT, TOLD = 1, -1, 0

CHANGE = Statement(
    "change_room_servers",
    "bigint, bigint, text[], int[]",
    "WITH changed AS (INSERT INTO room_servers (room, server, joined) SELECT $1, s, d FROM unnest($3, $4) AS w(s, d)"
    " ON CONFLICT (room, server) DO UPDATE SET joined = room_servers.joined + EXCLUDED.joined"
    " RETURNING server, joined)"
    " INSERT INTO room_server_changes (room, position, server, change)"
    " SELECT $1, $2, c.server, CASE WHEN w.d = 0 THEN 0 WHEN c.joined > 0 THEN 1 ELSE -1 END"
    " FROM changed c JOIN unnest($3, $4) AS w(s, d) ON w.s = c.server"
    " WHERE w.d = 0 OR (c.joined > 0) <> (c.joined - w.d > 0)",
)
NOW = Statement(
    "list_room_servers", "bigint[]", "SELECT room, server FROM room_servers WHERE room = ANY($1) AND joined > 0"
)


class RoomServers:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def change(self, room: int, position: int, joined: Mapping[str, int], told: Iterable[str]) -> None:
        """`joined`: by how many the joined users of servers changed at a position; `told`: servers that are to hear of
        the event at it although none of their users is joined."""
        differences = {server: difference for server, difference in joined.items() if difference}
        for server in told:
            differences.setdefault(server, 0)
        if differences:
            self._transaction.defer(CHANGE, room, position, list(differences), list(differences.values()))

    def list_now(self, rooms: Collection[int]) -> dict[int, list[str]]:
        """By room: the servers with joined users."""
        found: dict[int, list[str]] = {room: [] for room in rooms}
        if found:
            for room, server in self._transaction.fetch(NOW, list(found)):
                found[room].append(server)
        return found

    def list_rooms(self) -> list[int]:
        """The rooms that ever concerned another server."""
        return [row[0] for row in self._transaction.text("SELECT DISTINCT room FROM room_servers")]

    def prune(self, upto: int) -> None:
        """Forgets changes at or before a position: nobody asks any more who was there before it."""
        self._transaction.defer_text("DELETE FROM room_server_changes WHERE position <= %s", upto)
