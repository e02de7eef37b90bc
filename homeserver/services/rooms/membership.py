"""Who is in a room: inviting, joining, leaving, kicking, banning, forgetting.

What other servers have to say in it is asked through `remote`.
https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from homeserver.domain.event import Event
from homeserver.domain.identifiers import domain_of, is_user_id
from homeserver.ports import Clock, RemoteRooms
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.guest_access import RoomsAbroad, check_abroad, check_guest, not_for_guests
from homeserver.services.rooms.invite_policy import check_invite
from homeserver.services.rooms.outsiders import facts_for_outsiders
from homeserver.services.rooms.restricted_joins import find_authoriser
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.services.server_user import server_user
from homeserver.storage.store import Store

# A restricted room into which another server may let somebody whom we cannot.
ELSEWHERE = ("M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN")
MAX_SERVERS = 8


class Membership:
    """`remote` and `rooms_abroad` are None where this server talks to no other."""

    def __init__(
        self,
        database: Persistence,
        writer: Writer,
        clock: Clock,
        aliases: Aliases,
        remote: RemoteRooms | None = None,
        rooms_abroad: RoomsAbroad | None = None,
    ) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._aliases = aliases
        self._remote = remote
        self._rooms_abroad = rooms_abroad

    async def invite(
        self, sender: str, room_id: str, user_id: str, reason: str | None = None, *, is_direct: bool = False
    ) -> None:
        """Raises Forbidden if the rules do not allow it (also if the user is banned or joined already), RemoteError if
        the user's server does not answer."""
        _check_user(user_id)
        if domain_of(user_id) != self._writer.server_name:
            await self._invite_abroad(sender, room_id, user_id, reason, is_direct)
            return

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            _check_in_room(room, sender)
            check_invite(store, user_id)
            self._put(room, sender, user_id, member_content(store, user_id, "invite", is_direct=is_direct), reason)

        await self._database.write(work, room=room_id)

    async def join(
        self,
        user_id: str,
        room_id_or_alias: str,
        content: Mapping[str, Any] | None = None,
        servers: Sequence[str] = (),
    ) -> str:
        """The id of the room that the user is now joined to. `content`: what the member event shall hold besides;
        `servers`: through which a room may be reached that we are not in."""
        room_id, more = await self._resolve(room_id_or_alias)
        servers = [*servers, *more]

        def work(store: Store) -> bool:
            room, is_guest = self._open_here(store, room_id, user_id)
            if room is None:
                return False
            if room.membership(user_id) == "join":
                return True
            if is_guest:
                check_guest(room)
            joining = {**(content or {}), **member_content(store, user_id, "join")}
            authoriser = find_authoriser(room, user_id)
            if authoriser is not None:
                joining["join_authorised_via_users_server"] = authoriser
            self._put(room, user_id, user_id, joining, None)
            return True

        for _ in range(2):
            try:
                if await self._database.write(work, room=room_id):
                    return room_id
                although_resident = False
            except (BadRequest, Forbidden) as error:
                if self._remote is None or error.errcode not in ELSEWHERE:
                    raise
                although_resident = True
            if self._remote is None:
                break
            if although_resident:
                servers = await self._database.read(lambda store: _servers_of(store, room_id))
                if not servers:
                    raise Forbidden("Nobody may let you in", "M_UNABLE_TO_GRANT_JOIN")
            own, is_guest = await self._database.read(
                lambda store: (member_content(store, user_id, "join"), store.users.is_guest(user_id))
            )
            joining = {**(content or {}), **own}
            if is_guest and self._rooms_abroad is not None:
                await check_abroad(self._rooms_abroad, room_id, servers)
            if await self._remote.join(user_id, room_id, servers, joining, although_resident=although_resident):
                if is_guest and room_id not in await self.joined_rooms(user_id):
                    raise not_for_guests()
                return room_id
        raise NotFound(f"No room {room_id} is known here")

    async def knock(
        self, user_id: str, room_id_or_alias: str, reason: str | None = None, servers: Sequence[str] = ()
    ) -> str:
        """The id of the room that the user asks to be let into."""
        room_id, more = await self._resolve(room_id_or_alias)

        def work(store: Store) -> bool:
            room, _ = self._open_here(store, room_id, user_id)
            if room is None:
                return False
            if room.membership(user_id) != "knock":
                self._put(room, user_id, user_id, member_content(store, user_id, "knock"), reason)
            return True

        if await self._database.write(work, room=room_id):
            return room_id
        if self._remote is None:
            raise NotFound(f"No room {room_id} is known here")
        content = await self._database.read(lambda store: member_content(store, user_id, "knock"))
        if reason is not None:
            content["reason"] = reason
        await self._remote.knock(user_id, room_id, [*servers, *more], content)
        return room_id

    async def leave(self, user_id: str, room_id: str, reason: str | None = None) -> None:
        """Leaves, rejects an invite or takes back a knock. Nothing happens if the user has left already.

        Raises Forbidden, for the invite to the user's server notices with M_CANNOT_LEAVE_SERVER_NOTICE_ROOM: by who
        invited. Its tag proves nothing, as users tag whatever they like.
        """

        def work(store: Store) -> bool:
            room = self._writer.open(store, room_id)
            standing = store.memberships.find(user_id, room.row.number)
            if standing is None:
                raise Forbidden("You have nothing to do with this room")
            if standing.membership == "leave":
                return True
            if standing.membership == "invite" and standing.sender == server_user(self._writer.server_name):
                raise Forbidden("You cannot reject this invite", "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
            if standing.membership != "join" and not store.rooms.is_resident(room.row.number):
                return False
            self._put(room, user_id, user_id, {"membership": "leave"}, reason)
            return True

        if await self._database.write(work, room=room_id):
            return
        if self._remote is None:
            raise Forbidden("The room is on another server, and this one talks to none")
        content = {"membership": "leave"} if reason is None else {"membership": "leave", "reason": reason}
        await self._remote.leave(user_id, room_id, content)

    async def kick(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Raises Forbidden if the user is not in the room."""
        await self._expel(sender, room_id, user_id, "leave", ("join", "invite", "knock"), reason)

    async def ban(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        await self._expel(sender, room_id, user_id, "ban", None, reason)

    async def unban(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Raises Forbidden if the user is not banned."""
        await self._expel(sender, room_id, user_id, "leave", ("ban",), reason)

    async def forget(self, user_id: str, room_id: str) -> None:
        """The room's history is gone for the user. Raises BadRequest while the user is joined or invited."""

        def work(store: Store) -> None:
            room = store.rooms.get(room_id)
            row = store.memberships.find(user_id, room.number)
            if row is None:
                raise NotFound("You have nothing to do with this room")
            if row.membership in ("join", "invite", "knock"):
                raise BadRequest("Leave the room before you forget it", "M_UNKNOWN")
            store.memberships.forget(user_id, room.number, self._clock.now_ms())

        await self._database.write(work)

    async def joined_rooms(self, user_id: str) -> list[str]:
        """The ids of the rooms that the user is joined to."""

        def work(store: Store) -> list[str]:
            numbers = [row.room for row in store.memberships.list_of_user(user_id) if row.membership == "join"]
            return [room.room_id for room in store.rooms.list_by_numbers(numbers)]

        return await self._database.read(work)

    async def profile_changed(self, user_id: str) -> None:
        """Brings the user's name and avatar into the rooms that the user is joined to, one transaction each."""
        for room_id in await self.joined_rooms(user_id):
            # With a join rule that nobody knows, not even members may say again that they are joined.
            with suppress(Forbidden):
                await self._renew(user_id, room_id)

    async def _resolve(self, room_id_or_alias: str) -> tuple[str, Sequence[str]]:
        """A room id, looked up if an alias was given, and servers that know the room. Raises NotFound."""
        if room_id_or_alias.startswith("!"):
            return room_id_or_alias, ()
        if not room_id_or_alias.startswith("#"):
            raise BadRequest("Neither a room id nor a room alias")
        found = await self._aliases.resolve(room_id_or_alias)
        return found.room_id, found.servers

    def _open_here(self, store: Store, room_id: str, user_id: str) -> tuple[LockedRoom | None, bool]:
        """The room, if what we hold of it is what it is: somebody of us is in it, or nobody at all any more; and
        whether the user is a guest. None if others have to be asked. Raises NotFound if nobody could be."""
        try:
            row, is_resident, is_guest = store.rooms.lock_to_enter(room_id, user_id)
        except NotFound:
            if self._remote is None:
                raise
            return None, False
        abandoned = row.joined == 0 and bool(row.extremities)
        return (self._writer.open_row(store, row) if abandoned or is_resident else None), is_guest

    async def _invite_abroad(
        self, sender: str, room_id: str, user_id: str, reason: str | None, is_direct: bool
    ) -> None:
        """Invites another server's user: that server signs the invite too, before it enters the room."""
        if self._remote is None:
            raise Forbidden("This server talks to no other")
        content: dict[str, Any] = {"membership": "invite"}
        if is_direct:
            content["is_direct"] = True
        if reason is not None:
            content["reason"] = reason

        def draft(store: Store) -> tuple[Event, list[Mapping[str, Any]]]:
            room = self._writer.open_row(store, store.rooms.get(room_id))
            _check_in_room(room, sender)
            event = self._writer.draft(room, sender=sender, type="m.room.member", state_key=user_id, content=content)
            return event, [one.pdu for one in facts_for_outsiders(room, sender)]

        event, told = await self._database.read(draft)
        signed = await self._remote.sign_invite(event, told)

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            self._writer.let_in(room, signed)
            room.save()

        await self._database.write(work, room=room_id)

    async def _renew(self, user_id: str, room_id: str) -> None:
        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            standing = room.lookup(("m.room.member", user_id))
            if standing is None or standing.content.get("membership") != "join":
                return
            old = ("displayname", "avatar_url", "join_authorised_via_users_server")
            content = {key: value for key, value in standing.content.items() if key not in old}
            content.update(member_content(store, user_id, "join"))
            if content != standing.content:
                self._put(room, user_id, user_id, content, None)

        await self._database.write(work, room=room_id)

    async def _expel(
        self,
        sender: str,
        room_id: str,
        user_id: str,
        membership: str,
        only_if: tuple[str, ...] | None,
        reason: str | None,
    ) -> None:
        _check_user(user_id)

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            _check_in_room(room, sender)
            standing = room.membership(user_id)
            if only_if is not None and standing not in only_if:
                raise Forbidden(f"The user's membership of the room is {standing or 'none'}")
            if standing == membership == "ban" and room.power.of_user(sender) >= room.power.for_action("ban"):
                return
            self._put(room, sender, user_id, {"membership": membership}, reason)

        await self._database.write(work, room=room_id)

    def _put(self, room: LockedRoom, sender: str, target: str, content: Mapping[str, Any], reason: str | None) -> None:
        if reason is not None:
            content = {**content, "reason": reason}
        self._writer.put(room, sender=sender, type="m.room.member", state_key=target, content=content)
        room.save()


def member_content(store: Store, user_id: str, membership: str, *, is_direct: bool = False) -> dict[str, Any]:
    """The content of a member event, with the name and avatar of the user's profile as far as we hold it."""
    content: dict[str, Any] = {"membership": membership}
    profile = store.profiles.get(user_id)
    content.update({field: profile[field] for field in ("displayname", "avatar_url") if profile.get(field)})
    if is_direct:
        content["is_direct"] = True
    return content


def _check_user(user_id: object) -> None:
    if not is_user_id(user_id):
        raise BadRequest(f"{user_id!r} is no user id")


def _check_in_room(room: LockedRoom, user_id: str) -> None:
    if room.membership(user_id) != "join":
        raise Forbidden("You are not in this room")


def _servers_of(store: Store, room_id: str) -> list[str]:
    return store.residents.list_servers(store.rooms.get(room_id).number, MAX_SERVERS)
