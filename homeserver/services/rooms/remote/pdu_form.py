"""Events as servers exchange them: strings joined, not parsed, unless something must be taken away.

What is unsigned is not kept, so none of it is told. https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

import orjson

from homeserver.domain.canonical import canonical_json
from homeserver.domain.redaction import redact
from homeserver.domain.versions import EventIdFormat, RoomVersion
from homeserver.storage.events import join


def pdu_text(version: RoomVersion, room_id: str, event_id: str, type: str, client: str, wire: str) -> str:
    """The PDU of an event whose parts are `client` and `wire` (`homeserver.storage.events.split`), as JSON."""
    parts = [client, wire]
    if version.event_ids is EventIdFormat.CHOSEN:
        parts.append(f'"event_id":{_quote(event_id)}')
    if not version.room_id_is_create_hash or type != "m.room.create":
        parts.append(f'"room_id":{_quote(room_id)}')
    return f"{{{','.join(part for part in parts if part)}}}"


def redacted_pdu_text(version: RoomVersion, room_id: str, event_id: str, client: str, wire: str) -> str:
    """As `pdu_text`, of the event once it is redacted: its id, hash and signatures hold still."""
    event = join(version, room_id, event_id, client, wire)
    # Old rooms hold numbers beyond 64 bits: what writes canonical JSON can write them.
    return canonical_json(redact(version, event.pdu), checked=True).decode()


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()
