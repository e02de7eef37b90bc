"""Account data: what clients keep with us for a user, for the whole account or for a room.

Its content is the clients' business. Push rules and the fully-read marker are kept in the same place and have
endpoints of their own. https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections.abc import Mapping
from typing import Any

from homeserver.domain.errors import BadRequest, NotAllowed, NotFound, TooLarge
from homeserver.domain.identifiers import fits, is_room_id
from homeserver.services.kept_json import kept_json
from homeserver.services.persistence import Persistence
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.store import Store
from homeserver.streams.keys import user_key
from homeserver.streams.publications import AccountDataItem

# Lists of direct chats and of ignored users of people who have thousands of either.
MAX_CONTENT_BYTES = 512 * 1024
# Of one user, in all rooms together.
MAX_ENTRIES = 20_000

# "This `type` of account data is controlled by the server; it cannot be modified by clients."
SERVERS_OWN = frozenset({"m.push_rules", "m.fully_read"})


class AccountData:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def get(self, user_id: str, type: str, room_id: str | None = None) -> str:
        """The content, a JSON object. Raises NotFound; BadRequest for a room id that is none."""
        _check_room_id(room_id)

        def work(store: Store) -> str:
            content = store.account_data.find(user_id, _room_number(store, room_id), type)
            if content is None:
                raise NotFound("There is no such account data")
            return content

        return await self._database.read(work, single=room_id is None)

    async def set(self, user_id: str, type: str, content: Mapping[str, Any], room_id: str | None = None) -> None:
        """Raises NotAllowed for what clients may not set, NotFound for an unknown room, BadRequest, TooLarge."""
        _check_room_id(room_id)
        if type in SERVERS_OWN:
            raise NotAllowed(f"{type} cannot be set through this API", "M_BAD_JSON")
        if not type or not fits(type):
            raise BadRequest("A type has 1 to 255 bytes")
        text = kept_json(content)
        if len(text.encode()) > MAX_CONTENT_BYTES:
            raise TooLarge(f"Account data may have at most {MAX_CONTENT_BYTES} bytes")

        def work(store: Store) -> None:
            room = _room_number(store, room_id)
            is_new = store.account_data.find(user_id, room, type) is None
            if is_new and store.account_data.count(user_id) >= MAX_ENTRIES:
                raise TooLarge(f"An account may have at most {MAX_ENTRIES} entries of account data")
            position = store.take_position()
            store.account_data.put(user_id, room, type, text, position)
            item = AccountDataItem(user_id, None if room == GLOBAL else room, type, text)
            store.publish(position, [user_key(user_id)], item)

        await self._database.write(work)


def _check_room_id(room_id: str | None) -> None:
    if room_id is not None and not is_room_id(room_id):
        raise BadRequest(f"{room_id!r} is not a room id")


def _room_number(store: Store, room_id: str | None) -> int:
    """Raises NotFound for a room that is not known here."""
    return GLOBAL if room_id is None else store.rooms.get(room_id).number
