"""What users tell the administrators about rooms, events and other users.

Kept for the administrators to read; nobody is told that they were reported. Reports of what is not here are taken like
others and thrown away, so that nobody learns from them what exists.
https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from homeserver.domain.errors import BadRequest, NotFound
from homeserver.domain.identifiers import domain_of
from homeserver.ports import Clock
from homeserver.services.access import readable_event
from homeserver.services.persistence import Persistence
from homeserver.storage.reports import Report
from homeserver.storage.store import Store

MAX_REASON_BYTES = 4_096
# Of one user; beyond it the oldest are dropped.
MAX_REPORTS = 500


class Reports:
    def __init__(self, database: Persistence, clock: Clock, server_name: str) -> None:
        self._database = database
        self._clock = clock
        self._server_name = server_name

    async def report_room(self, reporter: str, room_id: str, reason: str) -> None:
        """Raises BadRequest for a reason that is too long."""
        reason = _checked(reason)

        def work(store: Store) -> None:
            if store.rooms.find(room_id) is not None:
                self._put(store, reporter, reason, room_id=room_id)

        await self._database.write(work)

    async def report_event(self, reporter: str, room_id: str, event_id: str, reason: str) -> None:
        """Raises NotFound for an event that the reporter cannot see, and for a room that they are not in.

        "servers MUST verify that the reporting user is currently joined to the room the event is in".
        """
        reason = _checked(reason)

        def work(store: Store) -> None:
            room, event = readable_event(store, reporter, room_id, event_id)
            if not room.is_joined:
                raise NotFound("You are not in this room")
            self._put(store, reporter, reason, room_id=room_id, event_id=event_id, user_id=event.sender)

        await self._database.write(work)

    async def report_user(self, reporter: str, user_id: str, reason: str) -> None:
        """Raises BadRequest for a reason that is too long."""
        reason = _checked(reason)

        def work(store: Store) -> None:
            if domain_of(user_id) != self._server_name or store.users.find(user_id) is not None:
                self._put(store, reporter, reason, user_id=user_id)

        await self._database.write(work)

    def _put(
        self, store: Store, reporter: str, reason: str, *, room_id: str = "", event_id: str = "", user_id: str = ""
    ) -> None:
        store.reports.put(Report(reporter, room_id, event_id, user_id, reason, self._clock.now_ms()))
        store.reports.drop_oldest(reporter, MAX_REPORTS)


def _checked(reason: str) -> str:
    if len(reason) > MAX_REASON_BYTES or len(reason.encode()) > MAX_REASON_BYTES:
        raise BadRequest(f"A reason may have at most {MAX_REASON_BYTES} bytes")
    return reason.replace("\0", "")
