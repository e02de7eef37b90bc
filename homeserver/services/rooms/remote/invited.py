"""Users of ours are invited by other servers: whether they may be, and where the invite is kept.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.domain.errors import BadRequest, NotFound
from homeserver.domain.event import Event
from homeserver.domain.versions import RoomVersion
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.invite_policy import check_invite
from homeserver.services.rooms.remote.out_of_band import OutOfBand
from homeserver.services.rooms.remote.receiving import RemoteEvents
from homeserver.storage.store import Store


class Invited:
    def __init__(self, database: Persistence, events: RemoteEvents, out_of_band: OutOfBand) -> None:
        self._database = database
        self._events = events
        self._out_of_band = out_of_band

    async def check(self, version: RoomVersion, user_id: str, room_id: str) -> None:
        """Raises NotFound if there is no such user, Forbidden if the user wants no invites, BadRequest if the room is
        known here, and of another version."""

        def work(store: Store) -> None:
            if store.users.find(user_id) is None:
                raise NotFound("There is no such user here", "M_NOT_FOUND")
            check_invite(store, user_id)
            check_version(store, version, room_id)

        await self._database.read(work)

    async def receive(self, version: RoomVersion, event: Event, stripped: Sequence[Mapping[str, Any]]) -> None:
        """Our user is invited by this event, which both servers have signed.

        If we are in the room it is one of its events; it also comes by transaction, in case it cannot be let in yet.
        """
        if await self._events.version(event.room_id) is None:
            await self._out_of_band.receive(version, event, stripped)
        else:
            await self._events.append(event.room_id, [event])


def check_version(store: Store, version: RoomVersion, room_id: str) -> None:
    """Who names another version wants the event read and judged by other rules than those of its room."""
    row = store.rooms.find(room_id)
    if row is not None and row.state_group and row.version != version.identifier:
        raise BadRequest(f"The room is of version {row.version}")
