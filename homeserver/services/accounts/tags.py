"""The tags of a room: one entry of account data, `m.tag`, changed one tag at a time.

https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from homeserver.domain.errors import BadRequest, TooLarge
from homeserver.domain.identifiers import fits
from homeserver.services.accounts.data import MAX_ENTRIES
from homeserver.services.kept_json import kept_json
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store
from homeserver.streams.keys import user_key
from homeserver.streams.publications import AccountDataItem

TAG = "m.tag"
# Of one room.
MAX_TAGS = 100
MAX_TAG_BYTES = 4 * 1024

Tags = dict[str, dict[str, Any]]


class RoomTags:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def list_tags(self, user_id: str, room_id: str) -> Tags:
        """By name: what was set with the tag. Raises NotFound for a room that is not known here."""

        def work(store: Store) -> Tags:
            return read_tags(store.account_data.find(user_id, store.rooms.get(room_id).number, TAG))

        return await self._database.read(work)

    async def set_tag(self, user_id: str, room_id: str, tag: str, content: Mapping[str, Any]) -> None:
        """Raises NotFound; BadRequest for a name or an order that can be none; TooLarge."""
        if not tag or not fits(tag):
            raise BadRequest("The name of a tag has 1 to 255 bytes")
        if "order" in content and not _is_order(content["order"]):
            raise BadRequest("order must be a number between 0 and 1")
        if len(kept_json(content)) > MAX_TAG_BYTES:
            raise TooLarge(f"A tag may hold at most {MAX_TAG_BYTES} bytes")

        def change(tags: Tags) -> Tags:
            if tag not in tags and len(tags) >= MAX_TAGS:
                raise TooLarge(f"A room may have at most {MAX_TAGS} tags")
            return {**tags, tag: dict(content)}

        await self._change(user_id, room_id, change)

    async def remove_tag(self, user_id: str, room_id: str, tag: str) -> None:
        """Nothing happens if there is no such tag. Raises NotFound."""
        await self._change(user_id, room_id, lambda tags: {name: kept for name, kept in tags.items() if name != tag})

    async def _change(self, user_id: str, room_id: str, change: Callable[[Tags], Tags]) -> None:
        def work(store: Store) -> None:
            room = store.rooms.get(room_id).number
            store.users.lock(user_id)  # two devices at once: one after the other
            standing = store.account_data.find(user_id, room, TAG)
            before = read_tags(standing)
            after = change(before)
            if after == before:
                return
            if standing is None and store.account_data.count(user_id) >= MAX_ENTRIES:
                raise TooLarge(f"An account may have at most {MAX_ENTRIES} entries of account data")
            put_tags(store, user_id, room, after)

        await self._database.write(work)


def put_tags(store: Store, user_id: str, room: int, tags: Tags) -> None:
    """These are the user's tags of the room, by number, from now on. The user's account is locked."""
    content = kept_json({"tags": tags})
    position = store.take_position()
    store.account_data.put(user_id, room, TAG, content, position)
    store.publish(position, [user_key(user_id)], AccountDataItem(user_id, room, TAG, content))


def read_tags(content: str | None) -> Tags:
    """The tags of an m.tag, which clients may also have set as a whole, to anything."""
    tags = {} if content is None else orjson.loads(content).get("tags")
    if not isinstance(tags, dict):
        return {}
    return {
        name: {key: value for key, value in tag.items() if key != "order" or _is_order(value)}
        for name, tag in tags.items()
        if isinstance(tag, dict)
    }


def _is_order(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
