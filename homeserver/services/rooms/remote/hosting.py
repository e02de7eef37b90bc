"""Users of other servers come into our rooms, knock, and leave, through us.

First they are given a template of their event, then the event comes back, signed by their server. If the room is
restricted and a member of this server vouches, we sign too.
https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from signedjson.types import SigningKey

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from homeserver.domain.event import Event
from homeserver.domain.identifiers import domain_of
from homeserver.domain.signing import sign_event
from homeserver.domain.verdict import Rejected, SoftFailed
from homeserver.domain.versions import RoomVersion
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.outsiders import facts_for_outsiders
from homeserver.services.rooms.remote.receiving import Incomplete, RemoteEvents
from homeserver.services.rooms.restricted_joins import check_allowed, find_authoriser, is_restricted
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store

AUTHORISER = "join_authorised_via_users_server"


@dataclass(frozen=True, slots=True)
class Offer:
    """A template: the PDU without hashes and signatures."""

    version: RoomVersion
    event: Mapping[str, Any]


class Hosting:
    def __init__(
        self,
        database: Persistence,
        writer: Writer,
        events: RemoteEvents,
        server_name: str,
        key: SigningKey,
    ) -> None:
        self._database = database
        self._writer = writer
        self._events = events
        self._server_name = server_name
        self._key = key

    async def offer(self, room_id: str, user_id: str, membership: str, versions: Collection[str] | None) -> Offer:
        """A template of the member event of another server's user. `versions`: those that its server knows.

        Raises NotFound if we are not in the room, Forbidden if the rules do not allow the event, BadRequest
        (M_INCOMPATIBLE_ROOM_VERSION, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN).
        """

        def work(store: Store) -> Offer:
            row = store.rooms.find(room_id)
            if row is None or not store.rooms.is_resident(row.number):
                raise NotFound("This server is not in the room")
            room = self._writer.open_row(store, row)
            identifier = room.version.identifier
            if versions is not None and identifier not in versions:
                raise BadRequest(
                    "Your server does not know the version of this room",
                    "M_INCOMPATIBLE_ROOM_VERSION",
                    {"room_version": identifier},
                )
            content: dict[str, Any] = {"membership": membership}
            authoriser = _find_authoriser(room, user_id) if membership == "join" else None
            if authoriser is not None:
                content[AUTHORISER] = authoriser
            event = self._writer.draft(room, sender=user_id, type="m.room.member", state_key=user_id, content=content)
            left_out = ("hashes", "signatures", "event_id")
            template = {key: value for key, value in event.pdu.items() if key not in left_out}
            # "The name of the resident homeserver", in the template only.
            return Offer(room.version, {**template, "origin": self._server_name})

        return await self._database.read(work)

    async def version(self, room_id: str) -> RoomVersion:
        """Raises NotFound if we are not in the room."""
        version = await self._events.version(room_id)
        if version is None:
            raise NotFound("This server is not in the room")
        return version

    async def take(self, event: Event) -> Event:
        """Lets the event in, checked (checks 1 to 3) and made from a template of ours; it goes on to the other servers.

        Returns it, with our signature if one of our members vouches. Raises Forbidden if the rules do not allow it, and
        BadRequest if it follows or cites what we do not have.
        """
        if event.content.get("membership") == "join" and isinstance(event.content.get(AUTHORISER), str):
            event = await self._vouch(event)
        (outcome,) = await self._events.append(event.room_id, [event], relay=True)
        if isinstance(outcome, Rejected | SoftFailed):
            raise Forbidden(outcome.why)
        if isinstance(outcome, Incomplete):
            raise BadRequest("The event was not made from a template of this server")
        return event

    async def told(self, room_id: str) -> list[Mapping[str, Any]]:
        """What somebody outside is told of the room: PDUs of its state."""

        def work(store: Store) -> list[Mapping[str, Any]]:
            room = self._writer.open_row(store, store.rooms.get(room_id))
            return [event.pdu for event in facts_for_outsiders(room)]

        return await self._database.read(work)

    async def _vouch(self, event: Event) -> Event:
        """Signs the join if a user of ours lets the other one in, and may."""
        authoriser: str = event.content[AUTHORISER]
        if domain_of(authoriser) != self._server_name:
            return event

        def work(store: Store) -> None:
            room = self._writer.open_row(store, store.rooms.get(event.room_id))
            rules = room.lookup(("m.room.join_rules", ""))
            if rules is None or not is_restricted(room, rules):
                return
            if room.membership(event.sender) in ("invite", "join"):
                return
            check_allowed(room, rules, event.sender)

        await self._database.read(work)
        return replace(event, pdu=sign_event(event.version, event.pdu, self._server_name, self._key))


def _find_authoriser(room: LockedRoom, user_id: str) -> str | None:
    try:
        return find_authoriser(room, user_id)
    except Forbidden as error:
        if error.errcode == "M_UNABLE_TO_GRANT_JOIN":
            raise BadRequest(error.message, error.errcode) from error
        raise
