"""Who is in a room: inviting, joining, leaving, kicking, banning, forgetting.

Rooms of this server only: joining over federation is the federation door's, and ends here too.
https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from homeserver.domain.event import Event
from homeserver.domain.identifiers import is_user_id
from homeserver.ports import Clock
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store

MAX_ALLOWED_ROOMS = 50


class Membership:
    def __init__(self, database: Persistence, writer: Writer, clock: Clock) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    async def invite(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Raises Forbidden if the rules do not allow it (also if the user is banned or joined already)."""
        _check_user(user_id)

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            _check_in_room(room, sender)
            self._put(room, sender, user_id, member_content(store, user_id, "invite"), reason)

        await self._database.write(work, room=room_id)

    async def join(self, user_id: str, room_id_or_alias: str, content: Mapping[str, Any] | None = None) -> str:
        """The id of the room that the user is now joined to. `content`: what the member event shall hold besides."""
        room_id = await self.resolve(room_id_or_alias)

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            if room.membership(user_id) == "join":
                return
            joining = {**(content or {}), **member_content(store, user_id, "join")}
            authoriser = self._authoriser(room, user_id)
            if authoriser is not None:
                joining["join_authorised_via_users_server"] = authoriser
            self._put(room, user_id, user_id, joining, None)

        await self._database.write(work, room=room_id)
        return room_id

    async def knock(self, user_id: str, room_id_or_alias: str, reason: str | None = None) -> str:
        """The id of the room that the user asks to be let into."""
        room_id = await self.resolve(room_id_or_alias)

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            if room.membership(user_id) == "knock":
                return
            self._put(room, user_id, user_id, member_content(store, user_id, "knock"), reason)

        await self._database.write(work, room=room_id)
        return room_id

    async def leave(self, user_id: str, room_id: str, reason: str | None = None) -> None:
        """Leaves, rejects an invite or takes back a knock. Nothing happens if the user has left already."""

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            membership = room.membership(user_id)
            if membership == "leave":
                return
            if membership is None:
                raise Forbidden("You have nothing to do with this room")
            self._put(room, user_id, user_id, {"membership": "leave"}, reason)

        await self._database.write(work, room=room_id)

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

    async def resolve(self, room_id_or_alias: str) -> str:
        """A room id, looked up if an alias was given. Raises NotFound."""
        if room_id_or_alias.startswith("!"):
            return room_id_or_alias
        if not room_id_or_alias.startswith("#"):
            raise BadRequest("Neither a room id nor a room alias")
        found = await self._database.read(lambda store: store.directory.find_room_id(room_id_or_alias), single=True)
        if found is None:
            raise NotFound(f"No room is known as {room_id_or_alias}")
        return found

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

    def _authoriser(self, room: LockedRoom, user_id: str) -> str | None:
        """For a restricted room that the user may enter because of another room: the local member who vouches."""
        rules = room.lookup(("m.room.join_rules", ""))
        if rules is None or not _is_restricted(room, rules) or room.membership(user_id) == "invite":
            return None
        rows = {row.room for row in room.store.memberships.list_of_user(user_id) if row.membership == "join"}
        joined = {other.room_id for other in room.store.rooms.list_by_numbers(list(rows))}
        if not joined & _allowed_rooms(rules):
            raise Forbidden("You are in none of the rooms that would let you in")
        level = room.power.for_action("invite")
        for row in room.store.memberships.list_of_room(room.row.number, ("join",)):
            if row.local and room.power.of_user(row.user_id) >= level:
                return row.user_id
        raise Forbidden("Nobody of this server may let you in", "M_UNABLE_TO_GRANT_JOIN")


def member_content(store: Store, user_id: str, membership: str, *, is_direct: bool = False) -> dict[str, Any]:
    """The content of a member event, with the name and avatar of the user's profile as far as we hold it."""
    content: dict[str, Any] = {"membership": membership}
    profile = store.profiles.get(user_id)
    content.update({field: profile[field] for field in ("displayname", "avatar_url") if profile.get(field)})
    if is_direct:
        content["is_direct"] = True
    return content


def _is_restricted(room: LockedRoom, rules: Event) -> bool:
    rule = rules.content.get("join_rule")
    return (rule == "restricted" and room.version.restricted) or (
        rule == "knock_restricted" and room.version.knock_restricted
    )


def _allowed_rooms(rules: Event) -> set[str]:
    allow = rules.content.get("allow")
    found: set[str] = set()
    for one in allow[:MAX_ALLOWED_ROOMS] if isinstance(allow, list) else ():
        if isinstance(one, Mapping) and one.get("type") == "m.room_membership" and isinstance(one.get("room_id"), str):
            found.add(one["room_id"])
    return found


def _check_user(user_id: object) -> None:
    if not is_user_id(user_id):
        raise BadRequest(f"{user_id!r} is no user id")


def _check_in_room(room: LockedRoom, user_id: str) -> None:
    if room.membership(user_id) != "join":
        raise Forbidden("You are not in this room")
