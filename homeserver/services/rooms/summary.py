"""The summary of one room: what is shown before somebody joins.

https://spec.matrix.org/v1.19/client-server-api/#room-summaries
"""

from collections.abc import Sequence
from typing import Any

from homeserver.domain.errors import NotFound, RemoteError
from homeserver.ports import RemoteDirectory
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.preview import Preview, may_see_remote, preview_rooms, standing_of
from homeserver.storage.store import Store


class Summaries:
    """`remote` is None where this server talks to no other."""

    def __init__(self, database: Persistence, aliases: Aliases, remote: RemoteDirectory | None) -> None:
        self._database = database
        self._aliases = aliases
        self._remote = remote

    async def get(self, user_id: str | None, room_id_or_alias: str, via: Sequence[str] = ()) -> dict[str, Any]:
        """A RoomSummary, with the `membership` of the user; None asks as somebody who is not logged in.

        Raises NotFound, also for rooms that are there and not to be seen.
        """
        room_id = room_id_or_alias
        if room_id_or_alias.startswith("#"):
            found = await self._aliases.resolve(room_id_or_alias)
            room_id, via = found.room_id, [*via, *found.servers]

        def work(store: Store) -> tuple[Preview | None, bool]:
            row = store.rooms.find(room_id)
            if row is None:
                return None, False
            preview = preview_rooms(store, user_id, [row]).get(room_id)
            return preview, preview is not None or bool(store.previews.list_resident([row.number]))

        preview, is_ours = await self._database.read(work)
        if preview is not None:
            summary = preview.facts.summary()
            if user_id is not None:
                summary["membership"] = preview.membership or "leave"
            return summary
        if not is_ours and self._remote is not None and via and user_id is not None:
            return await self._ask(self._remote, user_id, room_id, via)
        raise NotFound("Room not found")

    async def _ask(self, remote: RemoteDirectory, user_id: str, room_id: str, via: Sequence[str]) -> dict[str, Any]:
        try:
            found = await remote.space(room_id, via, suggested_only=False)
        except RemoteError as error:
            raise NotFound("Room not found") from error
        if found is None:
            raise NotFound("Room not found")
        room = found.room
        standing = await self._database.read(lambda store: standing_of(store, user_id, [room]))
        if not may_see_remote(room, standing):
            raise NotFound("Room not found")
        summary = {key: value for key, value in room.items() if key != "children_state"}
        summary["membership"] = standing.memberships.get(room_id, "leave")
        return summary
