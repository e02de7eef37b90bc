"""Reading a room's state and members, as it is now or as it was when the reader left.

https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from collections.abc import Iterable
from typing import Any

import orjson

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import Forbidden, NotFound
from homeserver.ports import Clock
from homeserver.services.access import ReadableRoom, readable_room
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.member_lists import MemberList, MemberLists
from homeserver.services.tokens import parse_place
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.store import Store

MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


class RoomState:
    def __init__(self, database: Persistence, clock: Clock, lists: MemberLists) -> None:
        self._database = database
        self._clock = clock
        self._lists = lists

    async def all(self, user_id: str, room_id: str) -> bytes:
        """The JSON list of all state events. Raises Forbidden."""

        def work(store: Store) -> bytes:
            room = readable_room(store, user_id, room_id)
            numbers = list(_numbers(store, room).values())
            events, redacted = store.client_json.events(numbers, self._clock.now_ms(), quote(room_id))
            if redacted:
                return self._list(store, user_id, room_id, store.events.list_by_numbers(numbers).values())
            return f"[{events}]".encode()

        return await self._database.read(work)

    async def get(self, user_id: str, room_id: str, type: str, state_key: str, *, whole: bool = False) -> bytes:
        """The JSON of the content at a key, or (`whole`) of the event. Raises NotFound, Forbidden."""

        def work(store: Store) -> bytes:
            room = readable_room(store, user_id, room_id)
            row = _find(store, room, type, state_key)
            if row is None:
                raise NotFound(f"The room has no {type} state with that key")
            if whole:
                form = ClientForm(user_id, None, self._clock.now_ms())
                form.prepare(store, [row])
                return form.event(row, None, quote(room_id)).encode()
            return canonical_json(parse_members(row.client)["content"], checked=True)

        return await self._database.read(work)

    async def members(
        self, user_id: str, room_id: str, at: str | None, membership: str | None, not_membership: str | None
    ) -> bytes:
        """The JSON of `chunk`, the member events that fit. Raises Forbidden; BadRequest for a token not ours."""
        place = None if at is None else parse_place(at)
        wanted = tuple(one for one in MEMBERSHIPS if _fits(one, membership, not_membership))
        known, as_of = self._lists.find(room_id, wanted), self._lists.now

        def work(store: Store) -> bytes | tuple[int, MemberList]:
            room = readable_room(store, user_id, room_id)
            if place is None and room.left_at is None:
                if known is not None:
                    return room.row.number, known
                words, times, redacted = store.client_json.members(room.row.number, wanted, quote(room_id))
                if not redacted:
                    return room.row.number, MemberList(words, times)
                rows = store.memberships.list_member_events(room.row.number, wanted)
            else:
                numbers = _numbers(store, room, None if place is None else place.anchor)
                rows = [row for row in store.events.list_by_numbers(numbers.values()).values() if _is_member(row)]
                rows = [row for row in rows if _fits(_membership(row), membership, not_membership)]
            return b'{"chunk":' + self._list(store, user_id, room_id, rows) + b"}"

        found = await self._database.read(work)
        if isinstance(found, bytes):
            return found
        number, members = found
        if members is not known:
            self._lists.put(room_id, number, wanted, as_of, members)
        return f'{{"chunk":[{members.text(self._clock.now_ms())}]}}'.encode()

    async def joined_members(self, user_id: str, room_id: str) -> bytes:
        """The JSON of `joined`: names and avatars by user. Only for those who are joined."""

        def work(store: Store) -> bytes:
            room = readable_room(store, user_id, room_id)
            if not room.is_joined:
                raise Forbidden("You are not in this room")
            joined: dict[str, dict[str, Any]] = {}
            for row in store.memberships.list_member_events(room.row.number, ("join",)):
                content = parse_members(row.client)["content"]
                joined[row.state_key or ""] = {
                    name: content[member]
                    for name, member in (("display_name", "displayname"), ("avatar_url", "avatar_url"))
                    if isinstance(content.get(member), str)
                }
            return orjson.dumps({"joined": joined})

        return await self._database.read(work)

    def _list(self, store: Store, user_id: str, room_id: str, rows: Iterable[EventRow]) -> bytes:
        form = ClientForm(user_id, None, self._clock.now_ms())
        rows = list(rows)
        form.prepare(store, rows)
        room = quote(room_id)
        return f"[{','.join(form.event(row, None, room) for row in rows)}]".encode()


def _numbers(store: Store, room: ReadableRoom, position: int | None = None) -> dict[int, int]:
    """Event number by key number, of the state that the reader may see."""
    limits = [one for one in (position, room.left_at) if one is not None]
    return store.state.as_of(room.row.number, room.row.state_generation, min(limits) if limits else 2**62)


def _find(store: Store, room: ReadableRoom, type: str, state_key: str) -> EventRow | None:
    key = (type, state_key)
    if room.left_at is None:
        number = store.state.find_current(room.row.number, room.row.state_generation, [key]).get(key)
    else:
        keys = store.state.number_keys([key])
        number = _numbers(store, room).get(keys[key]) if key in keys else None
    return None if number is None else store.events.list_by_numbers([number])[number]


def _is_member(row: EventRow) -> bool:
    return row.type == "m.room.member"


def _membership(row: EventRow) -> str:
    return str(parse_members(row.client)["content"].get("membership"))


def _fits(membership: str, wanted: str | None, unwanted: str | None) -> bool:
    """Both given means either: "membership" or not "not_membership"."""
    if wanted is None and unwanted is None:
        return True
    return membership == wanted or (unwanted is not None and membership != unwanted)
