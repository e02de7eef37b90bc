"""Replacing a room by one of another version: the new room, and the tombstone of the old one, in one transaction.

In the new room everything that is carried stands before the power levels: until these are set, whoever makes the room
may say anything. What users keep for themselves (tags, direct chats, push rules) follows when they join (`moving`).
https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.event import Event
from homeserver.domain.identifiers import is_user_id
from homeserver.domain.power import creators
from homeserver.domain.room_upgrade import (
    CARRIED,
    carried_creation,
    carried_join_rules,
    carried_levels,
    closing_levels,
)
from homeserver.domain.versions import RoomVersion
from homeserver.ports import Clock, Randomness
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.aliases import without_aliases
from homeserver.services.rooms.facts import SPACE
from homeserver.services.rooms.local_rules import CANONICAL_ALIAS
from homeserver.services.rooms.membership import member_content
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

CREATE, LEVELS = ("m.room.create", ""), ("m.room.power_levels", "")
TOMBSTONE = "m.room.tombstone"
BODY = "This room has been replaced"
MAX_CREATORS = 100
# Each is an event of the one transaction.
MAX_BANS, MAX_CHILDREN = 500, 500


@dataclass(frozen=True, slots=True)
class _Ids:
    """What is drawn once, so that a transaction that is tried again makes the same room."""

    opaque: str
    entropy: str


class Upgrade:
    def __init__(self, database: Persistence, writer: Writer, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._randomness = randomness

    async def __call__(
        self, user_id: str, room_id: str, version: RoomVersion, additional_creators: Sequence[str] = ()
    ) -> str:
        """The id of the room that replaces this one. Raises Forbidden if the user may send no tombstone, BadRequest."""
        if len(additional_creators) > MAX_CREATORS:
            raise BadRequest(f"A room can have at most {MAX_CREATORS} additional creators")
        if not all(is_user_id(one) for one in additional_creators):
            raise BadRequest("additional_creators is a list of user ids")
        ids = _Ids(self._randomness.token(18), self._randomness.token(12))

        def work(store: Store) -> str:
            old = self._writer.open(store, room_id)
            if old.membership(user_id) != "join":
                raise Forbidden("You are not in this room")
            if old.power.of_user(user_id) < old.power.for_event(TOMBSTONE, True):
                raise Forbidden("You may not upgrade this room")
            new = self._replace(store, old, user_id, version, additional_creators, ids)
            self._fill(store, old, new, user_id)
            self._move_aliases(store, old, new, user_id)
            self._close(old, user_id)
            store.rooms.set_published(new.row.number, old.row.published)
            store.rooms.set_published(old.row.number, False)
            new.save()
            old.save()
            return new.row.room_id

        return await self._database.write(work, room=room_id)

    def _replace(
        self,
        store: Store,
        old: LockedRoom,
        user_id: str,
        version: RoomVersion,
        additional: Sequence[str],
        ids: _Ids,
    ) -> LockedRoom:
        """The new room with its create event, and the tombstone of the old one.

        A room whose id is made of its create event cannot be named by a tombstone before it exists: there "the
        event_id property inside predecessor MAY be omitted".
        """
        room_id = f"!{ids.opaque}:{self._writer.server_name}"
        content = carried_creation(_content(old.lookup(CREATE)), version, additional)
        content["predecessor"] = {"room_id": old.row.room_id}
        if version.room_id_is_create_hash:
            content["io.parley.nonce"] = ids.entropy
        else:
            content["predecessor"]["event_id"] = self._tombstone(old, user_id, room_id)
        if not version.creator_is_sender:
            content["creator"] = user_id
        row = RoomRow(
            number=store.take_number(), room_id=room_id, version=version.identifier, extremities=[], extremity_ids=[],
            depth=0, state_group=0, state_version=0, state_generation=0, state_complete=True, joined=0, invited=0,
            open_history=True, published=False, last_anchor=0, classes=[], ordinals=[],
        )  # fmt: skip
        new = self._writer.create(store, row, user_id, content, self._clock.now_ms())
        if version.room_id_is_create_hash:
            self._tombstone(old, user_id, new.row.room_id)
        return new

    def _tombstone(self, old: LockedRoom, user_id: str, replacement: str) -> str:
        content = {"body": BODY, "replacement_room": replacement}
        return self._writer.put(old, sender=user_id, type=TOMBSTONE, content=content, state_key="")

    def _fill(self, store: Store, old: LockedRoom, new: LockedRoom, user_id: str) -> None:
        """All events after the first, the power levels last."""
        joining = member_content(store, user_id, "join")
        self._writer.put(new, sender=user_id, type="m.room.member", content=joining, state_key=user_id)
        old.prefetch([(type, "") for type in CARRIED])
        for type in CARRIED:
            content = _content(old.lookup((type, "")))
            if type == "m.room.join_rules" and content:
                content = carried_join_rules(content, new.version)
            if content:
                self._carry(new, user_id, type, "", content)
        if _content(old.lookup(CREATE)).get("type") == SPACE:
            place = (old.row.number, old.row.state_generation)
            for child in _events(old, store.previews.list_children([place], MAX_CHILDREN)[old.row.number]):
                if child.event.content.get("via"):
                    self._carry(new, user_id, child.event.type, child.event.state_key or "", child.event.content)
        made = creators(new.version, new.lookup(CREATE))
        banned = [row.event for row in store.memberships.list_of_room(old.row.number, ("ban",), MAX_BANS)]
        for ban in _events(old, banned):
            target = ban.event.state_key or ""
            if target not in made and is_user_id(target):
                kept = {key: ban.event.content[key] for key in ("membership", "reason") if key in ban.event.content}
                self._carry(new, user_id, "m.room.member", target, kept)
        levels = old.lookup(LEVELS)
        if levels is not None:
            had = creators(old.version, old.lookup(CREATE))
            content = carried_levels(levels.content, old.version, new.version, had, made)
            self._carry(new, user_id, "m.room.power_levels", "", content)

    def _carry(self, new: LockedRoom, user_id: str, type: str, state_key: str, content: Any) -> None:
        """Old rooms may hold numbers that events of newer versions cannot: what cannot be said any more is left out."""
        with suppress(BadRequest):
            self._writer.put(new, sender=user_id, type=type, content=content, state_key=state_key)

    def _move_aliases(self, store: Store, old: LockedRoom, new: LockedRoom, user_id: str) -> None:
        """ "Moves any local aliases to the new room", and what is said of them."""
        moved = frozenset(store.directory.move_aliases(old.row.number, new.row.number))
        standing = _content(old.lookup((CANONICAL_ALIAS, "")))
        left = without_aliases(standing, moved)
        if left == standing:
            return
        others = standing.get("alt_aliases")
        told = [one for one in others if isinstance(one, str) and one in moved] if isinstance(others, list) else []
        content: dict[str, Any] = {"alias": standing["alias"]} if "alias" not in left and "alias" in standing else {}
        if told:
            content["alt_aliases"] = told
        if _may_send(new, user_id, CANONICAL_ALIAS):
            self._writer.put(new, sender=user_id, type=CANONICAL_ALIAS, content=content, state_key="")
        if _may_send(old, user_id, CANONICAL_ALIAS):
            self._writer.put(old, sender=user_id, type=CANONICAL_ALIAS, content=left, state_key="")

    def _close(self, old: LockedRoom, user_id: str) -> None:
        """ "If possible, the power levels in the old room should also be modified"."""
        standing = old.lookup(LEVELS)
        if standing is None or not _may_send(old, user_id, LEVELS[0]):
            return
        content = closing_levels(standing.content, old.version)
        raised = [content[key] for key in ("events_default", "invite") if content[key] != standing.content.get(key)]
        if raised and max(raised) <= old.power.of_user(user_id):
            self._writer.put(old, sender=user_id, type=LEVELS[0], content=content, state_key="")


def _may_send(room: LockedRoom, user_id: str, type: str) -> bool:
    return room.power.of_user(user_id) >= room.power.for_event(type, True)


def _content(event: Event | None) -> Any:
    return {} if event is None else event.content


def _events(room: LockedRoom, numbers: Sequence[int]) -> list[StoredEvent]:
    found = room.events(numbers)
    return [found[number] for number in numbers]
