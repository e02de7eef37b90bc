"""A redaction that may be applied takes the content of its target away for good.

Whether it may is a check of its own, apart from authorisation, in room versions 3 and newer.
https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions
"""

from collections.abc import Sequence

from homeserver.domain.authorization.rules import authorize_redaction_applies
from homeserver.domain.identifiers import is_event_id
from homeserver.domain.redaction import redact
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.projections import relations
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import StoredEvent, join, split


def apply(room: LockedRoom, appended: Appended) -> None:
    redaction = appended.stored.event
    if redaction.type != "m.room.redaction" or not is_event_id(redaction.redacts):
        return
    target = room.store.events.find(redaction.redacts)
    if target is None:
        room.store.redactions.add_early(redaction.redacts, appended.stored.number)
        return
    if target.room != room.row.number or target.redacted_by is not None:
        return
    event = join(room.version, room.row.room_id, target.event_id, *room.store.events.get_parts(target.number))
    if not authorize_redaction_applies(room.version, redaction, event, room.power):
        return
    client, wire = split(redact(room.version, event.pdu))
    room.store.events.redact(target.number, redaction.event_id, client, wire)
    room.drop_event(target.number)
    appended.redacted = (target.event_id, client)
    relations.remove(room, target.number, event)
    # What was fetched to fill a gap never counted; it has the anchor of another event, which does.
    if target.anchor is not None and target.rank == 0:
        room.store.counts.discount(room.row.number, target.anchor)
        if target.thread_id is not None:
            room.store.threads.discount(room.row.number, target.thread_id, target.anchor)


def find_early(room: LockedRoom, stored: StoredEvent, early: Sequence[int]) -> StoredEvent | None:
    """Of the redactions that came before their target, the first that may be applied to it."""
    for redaction in room.events(early).values():
        if authorize_redaction_applies(room.version, redaction.event, stored.event, room.power):
            return redaction
    return None
