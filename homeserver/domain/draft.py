"""Building an event of our own: from what a user wants to say to a hashed, signed PDU.

Which events precede and authorise it, its depth and its time are the caller's to know; whether the rules allow it is
judged later (`homeserver.domain.authorization`). Every message goes through here, so the bytes that are signed and the
bytes of the reference hash, which are the same, are made once.
https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from signedjson.types import SigningKey

from homeserver.domain.canonical import checked_json
from homeserver.domain.errors import BrokenInvariant
from homeserver.domain.event import Event, read_event
from homeserver.domain.format import check_event_size, check_fields, max_depth
from homeserver.domain.hashing import encode_base64, essential_json, event_id_of_hash
from homeserver.domain.signing import key_id_of, sign_bytes
from homeserver.domain.versions import EventIdFormat, RoomVersion

# Another event: its id, or its id and its reference hash (`homeserver.domain.hashing.reference_hash`), which the
# references of room versions 1 and 2 carry. None: whoever told of the event did not tell the hash.
Reference = str | tuple[str, bytes | None]


def build_pdu(
    version: RoomVersion,
    *,
    room_id: str | None,
    sender: str,
    type: str,
    state_key: str | None,
    content: Mapping[str, Any],
    prev_events: Sequence[Reference],
    auth_events: Sequence[Reference],
    depth: int,
    origin_server_ts: int,
    server_name: str,
    key: SigningKey,
    event_id_suffix: str | None = None,
    redacts: str | None = None,
    unsigned: Mapping[str, Any] | None = None,
) -> Event:
    """The event of these parts, hashed and signed by `server_name` with `key`.

    `room_id` is None for a create event whose room id is made of its hash. `event_id_suffix` is the opaque part of the
    event id where ids are chosen (v1, v2), from the caller's randomness. `depth` beyond the limit is set to the limit.
    `redacts` is put where the version wants it. Raises BadRequest if the parts make no event of this version (floats
    in the content ...), and TooLarge if one is too long.
    """
    if redacts is not None and version.redacts_in_content:
        content = {**content, "redacts": redacts}
    fields: dict[str, Any] = {
        "auth_events": _references(version, auth_events),
        "content": content,
        "depth": min(depth, max_depth(version)),
        "origin_server_ts": origin_server_ts,
        "prev_events": _references(version, prev_events),
        "sender": sender,
        "type": type,
    }
    if room_id is not None:
        fields["room_id"] = room_id
    if state_key is not None:
        fields["state_key"] = state_key
    if redacts is not None and not version.redacts_in_content:
        fields["redacts"] = redacts
    if version.event_ids is EventIdFormat.CHOSEN:
        if event_id_suffix is None:
            raise BrokenInvariant(f"an event of version {version.identifier} needs a chosen id")
        fields["event_id"] = f"${event_id_suffix}:{server_name}"
    return _sign(version, fields, server_name, key, unsigned)


def _references(version: RoomVersion, references: Sequence[Reference]) -> list[Any]:
    if not version.reference_pairs:
        return [reference if isinstance(reference, str) else reference[0] for reference in references]
    pairs: list[Any] = []
    for reference in references:
        if isinstance(reference, str):
            raise BrokenInvariant(
                f"a room of version {version.identifier} needs the hash of {reference} to refer to it"
            )
        event_id, reference_hash = reference
        pairs.append([event_id, {} if reference_hash is None else {"sha256": encode_base64(reference_hash)}])
    return pairs


def _sign(
    version: RoomVersion, pdu: dict[str, Any], server_name: str, key: SigningKey, unsigned: Mapping[str, Any] | None
) -> Event:
    """The event of `pdu`, which is ours to fill: content hash, signature, unsigned data."""
    strict = version.strict_canonical_json
    # No hashes, signatures or unsigned data stand in it yet, so this is what the content hash covers.
    covered = checked_json(pdu, strict)
    pdu["hashes"] = {"sha256": encode_base64(sha256(covered).digest())}
    essential = essential_json(version, pdu)
    pdu["signatures"] = {server_name: {key_id_of(key): sign_bytes(key, essential)}}
    if unsigned is not None:
        checked_json(unsigned, strict)
        pdu["unsigned"] = unsigned
    check_event_size(pdu, checked=strict)
    check_fields(version, pdu)
    if version.event_ids is EventIdFormat.CHOSEN:
        event_id: str = pdu["event_id"]
    else:
        event_id = event_id_of_hash(version, sha256(essential).digest())
    is_new_room = version.room_id_is_create_hash and pdu["type"] == "m.room.create"
    return read_event(version, event_id, pdu, room_id="!" + event_id[1:] if is_new_room else None)
