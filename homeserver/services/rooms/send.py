"""Sending: messages, state and redactions of local users.

One request is one transaction; a repeated transaction id gets the first one's answer.
https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from collections.abc import Mapping
from typing import Any

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.identifiers import fits
from homeserver.services.client_form import redaction_target
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.append import Sent
from homeserver.services.rooms.local_rules import CANONICAL_ALIAS, aliases_to_ask, check_message, check_state
from homeserver.services.rooms.relation_rules import check_relation
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store


class Send:
    def __init__(self, database: Persistence, writer: Writer, aliases: Aliases) -> None:
        self._database = database
        self._writer = writer
        self._aliases = aliases

    async def message(
        self, sender: str, device_id: str, room_id: str, type: str, txn_id: str, content: Mapping[str, Any]
    ) -> str:
        """The id of the event that this device sent with `txn_id`, now or before."""
        check_message(type, content)
        if type == "m.room.redaction":
            reason = {key: value for key, value in content.items() if key != "redacts"}
            return await self.redaction(sender, device_id, room_id, content["redacts"], txn_id, reason)
        _check_names(type)

        def work(store: Store) -> str:
            row, known = store.rooms.lock_for(room_id, txn_id, sender, device_id, type)
            if known is not None:
                return known
            room = self._writer.open_row(store, row)
            _check_joined(room, sender)
            check_relation(room, sender, type, content)
            event_id = self._writer.put(room, sender=sender, type=type, content=content, sent=Sent(device_id, txn_id))
            room.save()
            return event_id

        return await self._database.write(work, room=room_id)

    async def state(self, sender: str, room_id: str, type: str, state_key: str, content: Mapping[str, Any]) -> str:
        """The id of the event that now stands at the key. Setting what stands there already makes no event."""
        _check_names(type, state_key)
        if type == "m.room.create":
            raise Forbidden("A room has one create event")
        confirmed: frozenset[str] = frozenset()
        if (type, state_key) == (CANONICAL_ALIAS, ""):
            confirmed = await self._confirmed(sender, room_id, content)

        def work(store: Store) -> str:
            room = self._writer.open(store, room_id)
            _check_joined(room, sender)
            standing = room.lookup((type, state_key))
            if standing is not None and standing.sender == sender and _are_same(standing.content, content):
                return standing.event_id
            check_state(room, type, state_key, content, confirmed)
            event_id = self._writer.put(room, sender=sender, type=type, content=content, state_key=state_key)
            room.save()
            return event_id

        return await self._database.write(work, room=room_id)

    async def redaction(
        self,
        sender: str,
        device_id: str,
        room_id: str,
        target: str,
        txn_id: str,
        content: Mapping[str, Any],
        *,
        own_only: bool = False,
    ) -> str:
        """The id of the redaction of `target`. `own_only`: the sender is suspended, and may take back own words."""
        type = "m.room.redaction"

        def work(store: Store) -> str:
            row, known = store.rooms.lock_for(room_id, txn_id, sender, device_id, type)
            if known is not None:
                # "if the transaction ID is the same as a previous request, and the path of the HTTP request is the
                # same": the target is part of the path.
                for sent in store.events.list_sent(row.number, sender, device_id, type, txn_id):
                    if redaction_target(sent.client) == target:
                        return sent.event_id
            room = self._writer.open_row(store, row)
            _check_joined(room, sender)
            self._check_redaction(store, room, sender, target, own_only)
            event_id = self._writer.put(
                room, sender=sender, type=type, content=content, redacts=target, sent=Sent(device_id, txn_id)
            )
            room.save()
            return event_id

        return await self._database.write(work, room=room_id)

    async def _confirmed(self, sender: str, room_id: str, content: Mapping[str, Any]) -> frozenset[str]:
        """Those aliases that are named anew, and are of other servers, which say that they lead to the room."""

        def work(store: Store) -> list[str]:
            room = self._writer.open_row(store, store.rooms.get(room_id))
            _check_joined(room, sender)
            return aliases_to_ask(room, sender, content, self._writer.server_name)

        asked = await self._database.read(work)
        return await self._aliases.confirm(asked, room_id) if asked else frozenset()

    @staticmethod
    def _check_redaction(store: Store, room: LockedRoom, sender: str, target: str, own_only: bool) -> None:
        """Newer room versions accept any redaction and may not apply it; a local user is told so at once."""
        event = store.events.find(target)
        if event is not None and event.room != room.row.number:
            raise BadRequest("That event is in another room")
        if own_only and (event is None or event.sender != sender):
            raise Forbidden("You cannot redact the events of others while suspended", "M_USER_SUSPENDED")
        if event is None:
            return
        if event.type == "m.room.create":
            raise Forbidden("The create event cannot be redacted")
        if event.sender != sender and room.power.of_user(sender) < room.power.for_action("redact"):
            raise Forbidden("You may not redact the events of others in this room")


def _are_same(content: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """As JSON, where 1 is not true."""
    return content == other and canonical_json(content) == canonical_json(other)


def _check_names(type: str, state_key: str = "") -> None:
    if not fits(type) or not fits(state_key):
        raise BadRequest("A type and a state key have at most 255 bytes")


def _check_joined(room: LockedRoom, user_id: str) -> None:
    if room.membership(user_id) != "join":
        raise Forbidden("You are not in this room")
