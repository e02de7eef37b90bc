"""Everything of a user at a glance, for those who then listen to the event stream: GET /initialSync.

Made room by room, each in short reads of its own: no lock and no snapshot is held, and rooms may be newer than the
token, so that an event may be heard of twice and none never. Rooms to which the user knocked are left out: this answer
has no word for them.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
"""

from contextlib import suppress
from dataclasses import dataclass

from homeserver.domain.errors import Forbidden
from homeserver.domain.filters import SyncFilter
from homeserver.ports import Clock
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.persistence import Persistence
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.rooms.initial_sync import InitialSync
from homeserver.services.sync.event_stream import invite_events
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sections.account_data import account_data_event, push_rules_event
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.sections.standing import Invites, load_standing
from homeserver.services.tokens import SyncToken
from homeserver.services.viewer import ignored_users
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.store import Store


@dataclass(frozen=True, slots=True)
class _Outline:
    """`rooms` are the ids of the joined and left rooms; the others are JSON texts."""

    rooms: list[str]
    joined: list[int]
    ignored: frozenset[str]
    invites: list[str]
    account_data: list[str]


class Overview:
    def __init__(
        self, database: Persistence, rooms: InitialSync, rule_book: RuleBook, present: PresenceSection, clock: Clock
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._rule_book = rule_book
        self._present = present
        self._clock = clock

    async def __call__(self, user_id: str, device_id: str, end: SyncToken, limit: int, archived: bool) -> bytes:
        """The JSON of the answer, as of `end` or a little later. `limit`: of each room's messages; `archived`: with
        rooms that the user has left."""
        outline = await self._database.read(lambda store: self._outline(store, user_id, device_id, end, archived))
        rooms = outline.invites
        for room_id in outline.rooms:
            # Whoever has just left a room, and forgotten it, is not told of it.
            with suppress(Forbidden):
                rooms.append((await self._rooms.room(user_id, device_id, room_id, limit)).decode())
        request = SyncRequest(user_id, device_id, None, 0, SyncFilter())
        presence = self._present.whole(request, outline.joined, outline.ignored, end.position)
        return (
            f'{{"end":"{end}","presence":[{",".join(presence)}],'
            f'"account_data":[{",".join(outline.account_data)}],"rooms":[{",".join(rooms)}]}}'
        ).encode()

    def _outline(self, store: Store, user_id: str, device_id: str, end: SyncToken, archived: bool) -> _Outline:
        ignored = ignored_users(store.account_data.find(user_id, GLOBAL, "m.ignored_user_list"))
        standing = load_standing(store, user_id, None, end.position, archived, Invites(ignored, False))
        joined = list(standing.joined)
        members = store.rooms.list_by_numbers([*joined, *standing.left])
        form = ClientForm(user_id, device_id, self._clock.now_ms())
        data = store.account_data.list_of_rooms(user_id, [GLOBAL], end.position)[GLOBAL]
        kept = [account_data_event(type, content) for type, content in data if content and type != "m.push_rules"]
        invites = [
            f'{{"room_id":{quote(room_id)},"membership":"invite","invite":{event}}}'
            for room_id, event in invite_events(store, form, list(standing.invited.values()))
        ]
        return _Outline(
            rooms=[row.room_id for row in members],
            joined=joined,
            ignored=ignored,
            invites=invites,
            account_data=[*kept, push_rules_event(self._rule_book.rules_of(store, user_id))],
        )
