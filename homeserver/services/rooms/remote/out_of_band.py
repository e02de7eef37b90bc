"""Invites, knocks and their ends in rooms that we are not in.

Of such a room there is no state to append to: the membership event is held as an outlier, and what the other server
tells of the room is shown to the invited user. https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from homeserver.domain.canonical import canonical_json, parse_json
from homeserver.domain.event import Event
from homeserver.domain.identifiers import domain_of
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.ports import Clock
from homeserver.services.client_form import stripped as _stripped
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.projections.members import display_name
from homeserver.services.rooms.remote.stubs import find_or_add_room
from homeserver.storage.events import NewEvent, split
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store
from homeserver.streams.keys import user_key
from homeserver.streams.publications import StateItem


@dataclass(frozen=True, slots=True)
class OutsideMembership:
    """What a user of ours is to a room that we are not in: invited or knocking, by whose event.

    `servers`: of those who wrote what was told of the room. They should know it."""

    version: RoomVersion
    membership: str
    sender: str
    servers: Sequence[str]


class Resident(Enum):
    """No question of what the user is outside: we are in the room."""

    YES = auto()


RESIDENT = Resident.YES


class OutOfBand:
    def __init__(self, database: Persistence, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def receive(self, version: RoomVersion, event: Event, stripped: Sequence[Mapping[str, Any]]) -> None:
        """A user of ours is invited, knocks, or is out again, says this member event, checked and signed.

        `stripped`: what the other server tells of the room; empty leaves what was told before.
        """
        assert event.state_key is not None, "a member event"

        def work(store: Store) -> None:
            row = find_or_add_room(store, version, event.room_id, self._clock.now_ms())
            if store.rooms.is_resident(row.number) or event.event_id in store.events.list_held([event.event_id]):
                return  # the room's own graph tells of it
            number, position = store.take_number(), store.take_position()
            client, wire = split(event.pdu)
            store.events.add(
                NewEvent(
                    number=number, event=event, room=row.number, position=position, anchor=None, client=client,
                    wire=wire, prev=[], auth=[], state_before=None, state_after=None,
                    key=store.state.intern_keys([event.key])[event.key], replaces=None, ordinals=[], live=False,
                )
            )  # fmt: skip
            if stripped:
                # The user's own member event tells who invited, and why.
                told = "[" + ",".join([*(canonical_json(one).decode() for one in stripped), _stripped(client)]) + "]"
                store.memberships.set_invite_state(event.state_key or "", row.number, told)
            membership = str(event.content.get("membership"))
            self._stand(store, row, event.state_key or "", membership, number, position, event)

        await self._database.write(work, room=event.room_id)

    async def find(self, user_id: str, room_id: str) -> OutsideMembership | None:
        """None also if we are in the room."""
        found = await self.look(user_id, room_id)
        return found if isinstance(found, OutsideMembership) else None

    async def look(self, user_id: str, room_id: str) -> OutsideMembership | Resident | None:
        """As `find`, but RESIDENT if we are in the room."""

        def work(store: Store) -> OutsideMembership | Resident | None:
            row = store.rooms.find(room_id)
            if row is None:
                return None
            if store.rooms.is_resident(row.number):
                return RESIDENT
            standing = store.memberships.find(user_id, row.number)
            if standing is None or standing.membership not in ("invite", "knock"):
                return None
            told = store.memberships.list_invite_states(user_id, [row.number]).get(row.number, "[]")
            return OutsideMembership(
                ROOM_VERSIONS[row.version], standing.membership, standing.sender, _servers_of(told)
            )

        return await self._database.read(work)

    async def end(self, user_id: str, room_id: str) -> None:
        """The user's invite or knock is over, and no server of the room could be told. Nothing happens if there is
        none, or if we are in the room."""

        def work(store: Store) -> None:
            row = store.rooms.lock(room_id)
            standing = store.memberships.find(user_id, row.number)
            if (
                standing is None
                or standing.membership not in ("invite", "knock")
                or store.rooms.is_resident(row.number)
            ):
                return
            store.state.intern_keys([("m.room.member", user_id)])
            self._stand(store, row, user_id, "leave", None, store.take_position(), None)

        await self._database.write(work, room=room_id)

    @staticmethod
    def _stand(
        store: Store,
        row: RoomRow,
        user_id: str,
        membership: str,
        number: int | None,
        position: int,
        event: Event | None,
    ) -> None:
        before = store.memberships.find(user_id, row.number)
        name = None if event is None else display_name(event.content.get("displayname"))
        sender = user_id if event is None else event.sender
        store.memberships.put(MembershipRow(user_id, row.number, membership, number or 0, position, sender, True, name))
        if membership in ("invite", "knock"):
            store.memberships.remember(user_id, row.number)
        key = ("m.room.member", user_id)
        was = None if before is None or not before.event else before.event
        store.state.add_change(row.number, position, store.state.number_keys([key])[key], was, number)
        store.publish(position, [user_key(user_id)], StateItem(row.number, row.room_id, (key,)))


def _servers_of(told: str) -> list[str]:
    senders = [event["sender"] for event in parse_json(told.encode(), strict=False)]
    return list(dict.fromkeys(domain_of(sender) for sender in senders if ":" in sender))
