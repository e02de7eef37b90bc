"""What a live sync knows of its user, for many users in one statement: so many may come back at once.

Not here: what follows from it (`services.sync.viewpoints`), and the tables' own repositories.
"""

from dataclasses import dataclass, field

from homeserver.storage.transaction import Statement, Transaction

_MEMBERSHIP, _IGNORED, _CLASS = range(3)
OF_USERS = Statement(
    "viewpoints_of_users",
    "text[]",
    # The id of the room only where the user is joined.
    f"SELECT m.user_id, {_MEMBERSHIP}, m.room, m.position, r.room_id FROM memberships m"
    " LEFT JOIN rooms r ON r.number = m.room AND m.membership = 'join' WHERE m.user_id = ANY($1)"
    f" UNION ALL SELECT user_id, {_IGNORED}, room, 0, content FROM account_data"
    " WHERE user_id = ANY($1) AND room = 0 AND type = 'm.ignored_user_list'"
    f" UNION ALL SELECT user_id, {_CLASS}, room, position, class FROM rule_classes WHERE user_id = ANY($1)",
)


@dataclass(slots=True)
class ViewpointRow:
    """`joined`: ids of rooms by number; `newest`: the position of the newest membership of any kind; `ignored`: the
    content of m.ignored_user_list; `classes`: (room or 0, position, class), oldest first."""

    joined: dict[int, str] = field(default_factory=dict)
    newest: int = 0
    ignored: str | None = None
    classes: list[tuple[int, int, str]] = field(default_factory=list)


class Viewpoints:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, user_ids: list[str]) -> dict[str, ViewpointRow]:
        """Of each of these users. One statement, so all of it is of one moment."""
        found = {user_id: ViewpointRow() for user_id in user_ids}
        for user_id, kind, room, position, text in self._transaction.fetch(OF_USERS, user_ids):
            row = found[user_id]
            if kind == _MEMBERSHIP:
                row.newest = max(row.newest, position)
                if text is not None:
                    row.joined[room] = text
            elif kind == _IGNORED:
                row.ignored = text
            else:
                row.classes.append((room, position, text))
        for row in found.values():
            row.classes.sort(key=lambda one: (one[1], one[0]))
        return found
