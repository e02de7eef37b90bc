"""The rooms that two users are both joined to.

https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

from dataclasses import dataclass

from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_user_id
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

PAGE = 200
MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class SharedRooms:
    """A page of room ids, how many there are in all, and where the next page starts."""

    joined: list[str]
    count: int
    next_batch: str | None


class MutualRooms:
    """`page` is how many rooms one page holds."""

    def __init__(self, database: Persistence, page: int = PAGE) -> None:
        self._database = database
        self._page = page

    async def page(self, user_id: str, other: str, start: str | None = None) -> SharedRooms:
        """Raises BadRequest for the user themselves, for what is no user id, and for a wrong token."""
        if not is_user_id(other):
            raise BadRequest("user_id is not a user id")
        if other == user_id:
            raise BadRequest("You share all your rooms with yourself")
        after = _parse(start)

        def work(store: Store) -> SharedRooms:
            rooms = store.memberships.list_shared(user_id, other, after, self._page + 1)
            more = f"m{rooms[self._page - 1][0]}" if len(rooms) > self._page else None
            count = store.memberships.count_shared(user_id, other)
            return SharedRooms([room_id for _, room_id in rooms[: self._page]], count, more)

        return await self._database.read(work)


def _parse(start: str | None) -> int:
    """The internal number of the last room of the page before."""
    if start is None:
        return 0
    digits = start.removeprefix("m")
    if digits == start or not digits.isascii() or not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise BadRequest("Not a token of this server")
    return int(digits)
