"""Server notices: what the operator tells users, each in a room of the server's own.

The room is made at a user's first notice and carries the tag `m.server_notice`. Only the server's account speaks in it,
and no other server can be in it. The user is invited, cannot reject that (`rooms.membership`), and may leave; the next
notice invites again. Of a limit that was reached, the notice is pinned as long as it holds.
https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.domain.errors import BadRequest, Conflict, NotFound
from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.ports import Clock, Randomness
from homeserver.services.accounts.tags import TAG, put_tags, read_tags
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.create import Create, RoomRequest
from homeserver.services.rooms.local_rules import check_message
from homeserver.services.rooms.membership import member_content
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.services.server_user import server_user
from homeserver.storage.store import Store

NAME = "Server Notices"
SERVER_NOTICE = "m.server_notice"
USAGE_LIMIT = "m.server_notice.usage_limit_reached"
# What the spec has no type for: anything that the operator has to say.
ANNOUNCEMENT = "io.parley.announcement"
PINNED = "m.room.pinned_events"
# Of everybody, so many are sent a notice at once.
PAGE = 50

REQUEST = RoomRequest(
    version=DEFAULT_ROOM_VERSION,
    preset="private_chat",
    name=NAME,
    creation_content={"m.federate": False},
    initial_state=[{"type": "m.room.guest_access", "content": {"guest_access": "forbidden"}}],
    # Users read here and say nothing, and bring nobody in.
    power_levels={"events_default": 100, "state_default": 100, "invite": 100, "events": {}},
)


@dataclass(frozen=True, slots=True)
class Told:
    """How many users were sent a notice, and after which one to go on; None: that were all."""

    count: int
    next: str | None


def notice_content(body: str, admin_contact: str | None = None, limit_type: str | None = None) -> dict[str, Any]:
    """An announcement, or with the two others the notice that a limit was reached. Raises BadRequest for one alone."""
    content = {"msgtype": SERVER_NOTICE, "body": body, "server_notice_type": ANNOUNCEMENT}
    if admin_contact is None and limit_type is None:
        return content
    if admin_contact is None or limit_type is None:
        raise BadRequest("The notice of a limit has both limit_type and admin_contact", "M_MISSING_PARAM")
    return content | {"server_notice_type": USAGE_LIMIT, "admin_contact": admin_contact, "limit_type": limit_type}


class Notices:
    def __init__(
        self, database: Persistence, writer: Writer, create: Create, clock: Clock, randomness: Randomness
    ) -> None:
        self._database = database
        self._writer = writer
        self._create = create
        self._clock = clock
        self._randomness = randomness
        self._sender = server_user(writer.server_name)

    async def send(self, user_id: str, content: Mapping[str, Any]) -> str:
        """The id of the event that tells a user of this server `content`, that of an m.room.message.

        Raises NotFound if there is no such user, BadRequest for guests and what is no message.
        """
        check_message("m.room.message", content)
        room_id = await self._room_of(user_id)

        def work(store: Store) -> str:
            room = self._writer.open(store, room_id)
            if room.membership(user_id) not in ("join", "invite"):
                invite = member_content(store, user_id, "invite")
                self._put(room, "m.room.member", invite, user_id)
            event_id = self._put(room, "m.room.message", content)
            if content.get("server_notice_type") == USAGE_LIMIT:
                self._put(room, PINNED, {"pinned": [event_id]}, "")
            room.save()
            _tag(store, user_id, room)
            return event_id

        return await self._database.write(work, room=room_id)

    async def send_to_all(self, content: Mapping[str, Any], after: str = "") -> Told:
        """As `send`, to the next users after one, in the order of their ids."""
        return await self._each(after, lambda user_id: self.send(user_id, content))

    async def withdraw(self, user_id: str) -> None:
        """What was said of a limit holds no more: nothing is pinned. Nothing happens if that is so."""
        room_id = await self._database.read(lambda store: store.notice_rooms.find(user_id), single=True)
        if room_id is None:
            return

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            pinned = room.lookup((PINNED, ""))
            if pinned is not None and pinned.content.get("pinned"):
                self._put(room, PINNED, {"pinned": []}, "")
                room.save()

        await self._database.write(work, room=room_id)

    async def withdraw_from_all(self, after: str = "") -> Told:
        """As `withdraw`, of the next users after one."""
        return await self._each(after, self.withdraw)

    async def _each(self, after: str, act: Callable[[str], Awaitable[object]]) -> Told:
        users = await self._database.read(lambda store: store.users.list_active(after, PAGE), single=True)
        count = 0
        for user_id in users:
            if user_id != self._sender:
                await act(user_id)
                count += 1
        return Told(count, users[-1] if len(users) == PAGE else None)

    async def _room_of(self, user_id: str) -> str:
        """The id of the user's room of notices, which is made if there is none."""
        opaque, entropy = self._randomness.token(18), self._randomness.token(12)

        def look(store: Store) -> str | None:
            self._check(store, user_id)
            return store.notice_rooms.find(user_id)

        def make(store: Store) -> str:
            store.users.lock(user_id)  # two first notices at once: one after the other
            self._check(store, user_id)
            known = store.notice_rooms.find(user_id)
            if known is not None:
                return known
            self._open_account(store)
            row = self._create.make(store, self._sender, REQUEST, (), opaque, entropy)
            store.notice_rooms.add(user_id, row.number)
            return row.room_id

        known = await self._database.read(look)
        return await self._database.write(make) if known is None else known

    def _check(self, store: Store, user_id: str) -> None:
        """Raises NotFound, BadRequest unless the user can be sent notices."""
        user = store.users.find(user_id)
        if user is None or user.deactivated or user_id == self._sender:
            raise NotFound(f"There is no user {user_id} here")
        if store.users.is_guest(user_id):
            raise BadRequest("Guests are sent no notices")

    def _open_account(self, store: Store) -> None:
        """Makes the account that speaks, which no password opens, if it is not there. Raises Conflict if the name was
        somebody's before it was reserved."""
        if store.users.add(self._sender, None, False, self._clock.now_ms()):
            store.profiles.set(self._sender, "displayname", orjson.dumps(NAME).decode())
            return
        user = store.users.find(self._sender)
        if user is None or user.password_hash is not None or user.deactivated:
            raise Conflict(f"{self._sender} is the account of somebody: the server cannot speak with it")

    def _put(self, room: LockedRoom, type: str, content: Mapping[str, Any], state_key: str | None = None) -> str:
        return self._writer.put(room, sender=self._sender, type=type, content=content, state_key=state_key)


def _tag(store: Store, user_id: str, room: LockedRoom) -> None:
    """ "Servers must identify this room to clients with the m.server_notice tag", also if a client took it away."""
    store.users.lock(user_id)
    tags = read_tags(store.account_data.find(user_id, room.row.number, TAG))
    if SERVER_NOTICE not in tags:
        put_tags(store, user_id, room.row.number, {**tags, SERVER_NOTICE: {}})
