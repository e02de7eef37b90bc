"""A redaction that may be applied takes the content of its target away for good.

Whether it may is a check of its own, apart from authorisation, in room versions 3 and newer.
https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions
"""

from homeserver.domain.authorization.rules import authorize_redaction_applies
from homeserver.domain.identifiers import is_event_id
from homeserver.domain.redaction import redact
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import join, split


def apply(room: LockedRoom, appended: Appended) -> None:
    redaction = appended.stored.event
    if redaction.type != "m.room.redaction" or not is_event_id(redaction.redacts):
        return
    target = room.store.events.find(redaction.redacts)
    if target is None or target.room != room.row.number or target.redacted_by is not None:
        return
    event = join(room.version, room.row.room_id, target.event_id, *room.store.events.get_parts(target.number))
    if not authorize_redaction_applies(room.version, redaction, event, room.power):
        return
    client, wire = split(redact(room.version, event.pdu))
    room.store.events.redact(target.number, redaction.event_id, client, wire)
    room.drop_event(target.number)
    appended.redacted = (target.event_id, client)
    if target.anchor is not None:
        room.store.counts.discount(room.row.number, target.anchor)
