"""Guests leave rooms that are no longer for them.

A follower: it is told of every room whose guest access changed, by an event or by the resolution of a fork, some time
after, at least once. What it does depends on what the room says by then, so to be told twice is of no concern.
https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

import logging
from collections.abc import Sequence
from functools import partial

from homeserver.domain.errors import Forbidden
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.guest_access import admits_guests, leave
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store

logger = logging.getLogger(__name__)

# So many are looked up at once. Each leaves in a transaction of their own: the room is not held up.
PAGE = 100


class GuestDepartures:
    def __init__(self, database: Persistence, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def act(self, rooms: Sequence[int]) -> None:
        """`rooms`, by number, are those whose guest access changed."""
        for number in dict.fromkeys(rooms):
            await self._empty(number)

    async def _empty(self, number: int) -> None:
        """Until no guest is left, or the room admits them."""
        last = ""
        while True:
            room_id, guests = await self._database.read(partial(_guests_in, number=number, after=last))
            for guest in guests:
                if not await self._leave(room_id, guest):
                    return
                last = guest
            if len(guests) < PAGE:
                return

    async def _leave(self, room_id: str, guest: str) -> bool:
        """False if the room is for guests, by now or all the time."""

        def work(store: Store) -> bool:
            room = self._writer.open(store, room_id)
            if admits_guests(room):
                return False
            if room.membership(guest) == "join" and store.users.is_guest(guest):
                leave(self._writer, room, guest)
                room.save()
            return True

        try:
            return await self._database.write(work, room=room_id)
        except Forbidden as error:
            # A room in which nobody may do anything must not hold up all others.
            logger.warning("the guest %s does not leave %s: %s", guest, room_id, error)
            return True


def _guests_in(store: Store, number: int, after: str) -> tuple[str, list[str]]:
    """The room's id, and a page of its guests. In a room that is gone there are none."""
    rows = store.rooms.list_by_numbers([number])
    return (rows[0].room_id, store.users.list_guests_in(number, after, PAGE)) if rows else ("", [])
