"""Making a room: its first events in the order that the spec gives, in one transaction.

https://spec.matrix.org/v1.19/client-server-api/#creation
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.domain.errors import BadRequest, Forbidden, RemoteError, RequestError
from homeserver.domain.identifiers import domain_of, is_room_alias, is_user_id
from homeserver.domain.power import creators
from homeserver.domain.versions import RoomVersion
from homeserver.ports import Clock, Randomness
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.invite_policy import check_invite
from homeserver.services.rooms.local_rules import check_state
from homeserver.services.rooms.membership import Membership, member_content
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

logger = logging.getLogger(__name__)

JOIN_RULES = {"private_chat": "invite", "trusted_private_chat": "invite", "public_chat": "public"}
GUEST_ACCESS = {"private_chat": "can_join", "trusted_private_chat": "can_join", "public_chat": "forbidden"}
MAX_INVITES = 200


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """What a client asks for, parsed. `content` fields are JSON objects as they came."""

    version: RoomVersion
    preset: str
    published: bool = False
    alias_localpart: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: Sequence[str] = ()
    is_direct: bool = False
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[Mapping[str, Any]] = ()
    power_levels: Mapping[str, Any] = field(default_factory=dict)


class Create:
    def __init__(
        self, database: Persistence, writer: Writer, membership: Membership, clock: Clock, randomness: Randomness
    ) -> None:
        self._database = database
        self._writer = writer
        self._membership = membership
        self._clock = clock
        self._randomness = randomness

    async def __call__(self, creator: str, request: RoomRequest) -> str:
        """The new room's id. Raises BadRequest, with M_INVALID_ROOM_STATE if the rules forbid what was asked for;
        Forbidden if somebody wants no invites."""
        if len(request.invite) > MAX_INVITES:
            raise BadRequest(f"At most {MAX_INVITES} people can be invited at once")
        for user_id in request.invite:
            if not is_user_id(user_id):
                raise BadRequest(f"{user_id!r} is no user id")
        for one in request.initial_state:
            if one["type"] == "m.room.member" and not is_user_id(one.get("state_key", "")):
                raise BadRequest("The state key of an m.room.member is a user id")
        wanted = dict.fromkeys(request.invite)
        here = [user_id for user_id in wanted if domain_of(user_id) == self._writer.server_name]
        opaque = self._randomness.token(18)
        entropy = self._randomness.token(12)

        def work(store: Store) -> str:
            for user_id in here:
                check_invite(store, user_id)
            return self.make(store, creator, request, here, opaque, entropy).room_id

        room_id = await self._database.write(work)
        for user_id in wanted.keys() - here:
            await self._invite_abroad(creator, room_id, user_id, request.is_direct)
        return room_id

    def make(
        self, store: Store, creator: str, request: RoomRequest, here: Sequence[str], opaque: str, entropy: str
    ) -> RoomRow:
        """The new room. Inside a `db.write`. `here`: who of this server is invited; `opaque` and `entropy`: random
        texts that make its id. Raises BadRequest, M_INVALID_ROOM_STATE."""
        number, now = store.take_number(), self._clock.now_ms()
        room_id = f"!{opaque}:{self._writer.server_name}"
        try:
            room = self._begin(store, number, creator, request, room_id, entropy, now)
            self._fill(store, room, creator, request, here)
        except Forbidden as error:  # the creator is allowed to make a room, only not this one
            raise BadRequest(error.message, "M_INVALID_ROOM_STATE") from error
        room.save()
        return room.row

    async def _invite_abroad(self, creator: str, room_id: str, user_id: str, is_direct: bool) -> None:
        """The room is there, whatever becomes of the invite: it can be sent again."""
        try:
            await self._membership.invite(creator, room_id, user_id, is_direct=is_direct)
        except (RequestError, RemoteError) as error:
            logger.warning("%s was not invited to the new room %s: %s", user_id, room_id, error)

    def _begin(
        self, store: Store, number: int, creator: str, request: RoomRequest, room_id: str, entropy: str, now: int
    ) -> LockedRoom:
        """The room with its create event."""
        version = request.version
        content = {**request.creation_content, "room_version": version.identifier}
        if not version.creator_is_sender:
            content["creator"] = creator
        if request.preset == "trusted_private_chat" and version.privileged_creators:
            named = content.get("additional_creators", [])
            if not isinstance(named, list):
                raise BadRequest("additional_creators is a list of user ids")
            content["additional_creators"] = list(dict.fromkeys([*named, *request.invite]))
        if version.room_id_is_create_hash:
            # Two rooms made by one user in the same millisecond would have the same id without it.
            content.setdefault("io.parley.nonce", entropy)
        row = RoomRow(
            number=number, room_id=room_id, version=version.identifier, extremities=[], extremity_ids=[], depth=0,
            state_group=0, state_version=0, state_generation=0, state_complete=True, joined=0, invited=0,
            open_history=True, published=request.published, last_anchor=0, classes=[], ordinals=[],
        )  # fmt: skip
        return self._writer.create(store, row, creator, content, now)

    def _fill(self, store: Store, room: LockedRoom, creator: str, request: RoomRequest, invited: Sequence[str]) -> None:
        """All events after the first, in the spec's order. `invited`: users of this server."""
        put = self._writer.put
        put(
            room,
            sender=creator,
            type="m.room.member",
            state_key=creator,
            content=member_content(store, creator, "join", is_direct=False),
        )
        self._state(room, creator, "m.room.power_levels", self._power_levels(room, creator, request))
        if request.alias_localpart is not None:
            alias = f"#{request.alias_localpart}:{self._writer.server_name}"
            if not is_room_alias(alias):
                raise BadRequest(f"{alias!r} is no room alias")
            if not store.directory.add_alias(alias, room.row.number, creator):
                raise BadRequest("That alias is taken", "M_ROOM_IN_USE")
            self._state(room, creator, "m.room.canonical_alias", {"alias": alias})
        given = {(one["type"], one.get("state_key", "")) for one in request.initial_state}
        for type, content in (
            ("m.room.join_rules", {"join_rule": JOIN_RULES[request.preset]}),
            ("m.room.history_visibility", {"history_visibility": "shared"}),
            ("m.room.guest_access", {"guest_access": GUEST_ACCESS[request.preset]}),
        ):
            if (type, "") not in given:
                self._state(room, creator, type, content)
        for one in request.initial_state:
            check_state(room, one["type"], one.get("state_key", ""), one["content"])
            self._state(room, creator, one["type"], one["content"], one.get("state_key", ""))
        if request.name is not None:
            self._state(room, creator, "m.room.name", {"name": request.name})
        if request.topic is not None:
            text = {"m.text": [{"body": request.topic, "mimetype": "text/plain"}]}
            self._state(room, creator, "m.room.topic", {"topic": request.topic, "m.topic": text})
        for user_id in invited:
            put(
                room,
                sender=creator,
                type="m.room.member",
                state_key=user_id,
                content=member_content(store, user_id, "invite", is_direct=request.is_direct),
            )

    def _state(
        self, room: LockedRoom, creator: str, type: str, content: Mapping[str, Any], state_key: str = ""
    ) -> None:
        self._writer.put(room, sender=creator, type=type, content=content, state_key=state_key)

    @staticmethod
    def _power_levels(room: LockedRoom, creator: str, request: RoomRequest) -> dict[str, Any]:
        """The default levels with what the request overrides."""
        version = room.version
        levels: dict[str, Any] = {
            "ban": 50,
            "events": {
                "m.room.avatar": 50,
                "m.room.canonical_alias": 50,
                "m.room.encryption": 100,
                "m.room.history_visibility": 100,
                "m.room.name": 50,
                "m.room.power_levels": 100,
                "m.room.server_acl": 100,
                "m.room.tombstone": 150 if version.privileged_creators else 100,
            },
            "events_default": 0,
            "historical": 100,
            "invite": 0,
            "kick": 50,
            "redact": 50,
            "state_default": 50,
            "users": {},
            "users_default": 0,
        }
        trusted = request.invite if request.preset == "trusted_private_chat" else ()
        everything = creators(version, room.lookup(("m.room.create", "")))
        if not version.privileged_creators:
            levels["users"] = dict.fromkeys([creator, *trusted], 100)
        levels.update(request.power_levels)
        users = levels.get("users")
        if version.privileged_creators and isinstance(users, dict):
            levels["users"] = {user_id: level for user_id, level in users.items() if user_id not in everything}
        return levels
