"""The hashes of events, and the ids made of them.

The content hash covers the whole event and travels in it; the reference hash covers what redaction leaves, and names
the event from room version 3 on. Both want an event whose format was checked (`homeserver.domain.format`).
https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
"""

import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest
from homeserver.domain.redaction import redact
from homeserver.domain.versions import EventIdFormat, RoomVersion

_NOT_CONTENT_HASHED = frozenset({"unsigned", "signatures", "hashes"})
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = str.maketrans("-_", "+/")


def encode_base64(data: bytes) -> str:
    """Unpadded base64 in the standard alphabet."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").decode("ascii")


def encode_url_safe_base64(data: bytes) -> str:
    """Unpadded base64 in the URL-safe alphabet."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def decode_base64(text: str) -> bytes:
    """The bytes of base64; raises BadRequest if `text` is none.

    Padding is optional: "implementations SHOULD accept input with or without padding". Either alphabet is accepted, as
    all of the network does; anything else between the characters is not.
    """
    padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(padded.translate(_STANDARD), strict_mode=True)
    except ValueError as error:  # binascii.Error is one, and so is what a non-ASCII character raises
        raise BadRequest("This is not base64") from error


def content_hash(pdu: Mapping[str, Any]) -> str:
    """The SHA-256 of the event without `unsigned`, `signatures` and `hashes`, as unpadded base64."""
    return encode_base64(_content_digest(pdu, checked=False))


def _content_digest(pdu: Mapping[str, Any], *, checked: bool) -> bytes:
    hashed = {key: value for key, value in pdu.items() if key not in _NOT_CONTENT_HASHED}
    return sha256(canonical_json(hashed, checked=checked)).digest()


def check_content_hash(pdu: Mapping[str, Any], *, checked: bool = False) -> bool:
    """Whether the event carries its own content hash; if not, only its redacted copy may be used.

    `checked` as in `canonical_json`.
    """
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, Mapping) else None
    if not isinstance(claimed, str):
        return False
    try:
        return decode_base64(claimed) == _content_digest(pdu, checked=checked)
    except BadRequest:
        return False


def add_content_hash(pdu: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the event that carries its content hash."""
    return {**pdu, "hashes": {"sha256": content_hash(pdu)}}


def essential_json(version: RoomVersion, pdu: Mapping[str, Any]) -> bytes:
    """The bytes that servers sign and the reference hash covers: the redacted event without `signatures` and
    `unsigned`, as canonical JSON."""
    essential = redact(version, pdu)
    essential.pop("signatures", None)
    return canonical_json(essential, checked=version.strict_canonical_json)


def reference_hash(version: RoomVersion, pdu: Mapping[str, Any]) -> bytes:
    """The SHA-256 of the event's essential fields."""
    return sha256(essential_json(version, pdu)).digest()


def event_id(version: RoomVersion, pdu: Mapping[str, Any]) -> str:
    """The id of the event: read from it in room versions 1 and 2, else made of its reference hash."""
    if version.event_ids is EventIdFormat.CHOSEN:
        chosen: str = pdu["event_id"]
        return chosen
    return event_id_of_hash(version, reference_hash(version, pdu))


def event_id_of_hash(version: RoomVersion, digest: bytes) -> str:
    """The event id that a reference hash makes; only where ids are hashes."""
    assert version.event_ids is not EventIdFormat.CHOSEN, "a chosen id is not made of a hash"
    return "$" + (encode_base64(digest) if version.event_ids is EventIdFormat.HASH else encode_url_safe_base64(digest))


def room_id_of_create(version: RoomVersion, pdu: Mapping[str, Any]) -> str:
    """The id of the room that this create event makes: from version 12 on its event id "with the sigil `!` instead of
    `$`"."""
    if version.room_id_is_create_hash:
        return "!" + event_id(version, pdu)[1:]
    room_id: str = pdu["room_id"]
    return room_id
