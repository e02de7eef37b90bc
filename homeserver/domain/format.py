"""The format of a PDU: the first check on whatever another server sends, and the last on what we send.

It looks at shapes, lengths and ranges only. Signatures, hashes and authorisation rules come after it and may rely on
it; nothing before it may rely on anything.
https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu, "Event format" of each room
version, https://spec.matrix.org/v1.19/client-server-api/#size-limits
"""

from collections.abc import Mapping
from typing import Any

from homeserver.domain.canonical import JSON_OBJECTS, MAX_INTEGER, canonical_json, checked_json
from homeserver.domain.errors import BadRequest, TooLarge
from homeserver.domain.identifiers import (
    MAX_IDENTIFIER_BYTES,
    fits,
    is_event_id,
    is_room_id,
    is_server_name,
    is_user_id,
)
from homeserver.domain.versions import EventIdFormat, RoomVersion

MAX_EVENT_BYTES = 65536
MAX_PREV_EVENTS = 20
MAX_AUTH_EVENTS = 10
_MAX_INT64 = 2**63 - 1
_BOUNDED_KEYS = ("sender", "room_id", "event_id", "type", "state_key")


def max_depth(version: RoomVersion) -> int:
    """The highest `depth`: "If the room's depth is already at the limit, the depth must be set to the limit"."""
    return MAX_INTEGER if version.strict_canonical_json else _MAX_INT64


def check_pdu_format(version: RoomVersion, pdu: object) -> None:
    """Raises BadRequest unless `pdu`, any JSON value, has the format of an event of this room version."""
    if not isinstance(pdu, JSON_OBJECTS):
        raise _wrong("The event is not an object")
    encoded = checked_json(pdu, version.strict_canonical_json)
    try:
        _check_lengths(encoded, pdu)
    except TooLarge as error:
        raise BadRequest(error.message, error.errcode) from error
    check_fields(version, pdu)


def check_event_size(pdu: Mapping[str, Any], *, checked: bool = False) -> None:
    """Raises TooLarge if the event, with all its signatures, or one of its identifying keys is too long.

    `checked` as in `canonical_json`.
    """
    _check_lengths(canonical_json(pdu, checked=checked), pdu)


def _check_lengths(encoded: bytes, pdu: Mapping[str, Any]) -> None:
    if len(encoded) > MAX_EVENT_BYTES:
        raise TooLarge(f"The event is larger than {MAX_EVENT_BYTES} bytes")
    for key in _BOUNDED_KEYS:
        value = pdu.get(key)
        if isinstance(value, str) and len(value.encode()) > MAX_IDENTIFIER_BYTES:
            raise TooLarge(f"{key} is longer than {MAX_IDENTIFIER_BYTES} bytes")


def check_fields(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    """Raises BadRequest unless every key of the event is what the schema of this room version says."""
    _check_values(version, pdu)
    _check_room_id(version, pdu)
    _check_references(version, pdu, "prev_events", MAX_PREV_EVENTS)
    _check_references(version, pdu, "auth_events", MAX_AUTH_EVENTS)
    _check_proofs(pdu)


def _wrong(message: str) -> BadRequest:
    return BadRequest(message, "M_BAD_JSON")


def _is_int(obj: object, lowest: int, highest: int) -> bool:
    return isinstance(obj, int) and not isinstance(obj, bool) and lowest <= obj <= highest


def _is_text(obj: object) -> bool:
    return isinstance(obj, str) and fits(obj)


def _check_values(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    if not is_user_id(pdu.get("sender")):
        raise _wrong("sender is not a user id")
    if not _is_text(pdu.get("type")):
        raise _wrong("type is not a string without NUL")
    if "state_key" in pdu and not _is_text(pdu["state_key"]):
        raise _wrong("state_key is not a string without NUL")
    if not isinstance(pdu.get("content"), JSON_OBJECTS):
        raise _wrong("content is not an object")
    if not isinstance(pdu.get("unsigned", {}), JSON_OBJECTS):
        raise _wrong("unsigned is not an object")
    highest = max_depth(version)
    if not _is_int(pdu.get("depth"), 0, highest):
        raise _wrong(f"depth is not an integer from 0 to {highest}")
    if not _is_int(pdu.get("origin_server_ts"), -highest, highest):
        raise _wrong("origin_server_ts is not an integer")
    if not version.redacts_in_content and not isinstance(pdu.get("redacts", ""), str):
        raise _wrong("redacts is not a string")
    if version.event_ids is EventIdFormat.CHOSEN and not _is_chosen_event_id(pdu.get("event_id")):
        raise _wrong("event_id is not an event id of the form $opaque:domain")


def _is_chosen_event_id(obj: object) -> bool:
    return is_event_id(obj) and is_server_name(obj.partition(":")[2])


def _check_room_id(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    room_id = pdu.get("room_id")
    if version.room_id_is_create_hash and pdu["type"] == "m.room.create":
        if "room_id" in pdu:
            raise _wrong("room_id must not stand in a create event: it is made of the event's hash")
    elif not is_room_id(room_id) or (":" in room_id) == version.room_id_is_create_hash:
        raise _wrong(f"room_id is not a room id of version {version.identifier}")


def _check_references(version: RoomVersion, pdu: Mapping[str, Any], key: str, limit: int) -> None:
    references = pdu.get(key)
    if not isinstance(references, list) or len(references) > limit:
        raise _wrong(f"{key} is not a list of at most {limit} events")
    is_reference = _is_reference_pair if version.reference_pairs else is_event_id
    if not all(map(is_reference, references)):
        raise _wrong(f"{key} holds something that refers to no event")


def _is_reference_pair(obj: object) -> bool:
    """Whether `obj` is `[event id, {"sha256": hash}]`. COMPAT: early events carry other hashes or none there, and
    nobody verifies them."""
    return isinstance(obj, list) and len(obj) == 2 and is_event_id(obj[0]) and isinstance(obj[1], JSON_OBJECTS)


def _check_proofs(pdu: Mapping[str, Any]) -> None:
    hashes = pdu.get("hashes")
    if not isinstance(hashes, JSON_OBJECTS) or not isinstance(hashes.get("sha256"), str):
        raise _wrong("hashes is not an object with a sha256")
    signatures = pdu.get("signatures")
    if not isinstance(signatures, JSON_OBJECTS):
        raise _wrong("signatures is not an object")
    for of_server in signatures.values():
        if not isinstance(of_server, JSON_OBJECTS) or not all(isinstance(value, str) for value in of_server.values()):
            raise _wrong("signatures of a server are not an object of strings")
