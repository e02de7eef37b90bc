"""Ed25519 signatures on JSON and on events, and the keys that make them.

Which keys a server has published, and until when they count, is not known here: callers bring the key. An event is
signed in its redacted form, so that the signature outlives a redaction.
https://spec.matrix.org/v1.19/appendices/#signing-json
https://spec.matrix.org/v1.19/server-server-api/#signing-events
"""

from collections.abc import Mapping
from typing import Any

from nacl.exceptions import CryptoError
from signedjson.key import decode_signing_key_base64, decode_verify_key_bytes, encode_signing_key_base64
from signedjson.types import SigningKey, VerifyKey

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest
from homeserver.domain.hashing import decode_base64, encode_base64, essential_json
from homeserver.domain.identifiers import domain_of, is_key_id
from homeserver.domain.versions import EventIdFormat, RoomVersion

ALGORITHM = "ed25519"
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_AUTHORISER = "join_authorised_via_users_server"


def generate_key(seed: bytes, version: str) -> SigningKey:
    """The signing key `ed25519:version` made of 32 random bytes; raises BadRequest for another number or name."""
    if len(seed) != _KEY_BYTES or not is_key_id(f"{ALGORITHM}:{version}"):
        raise BadRequest("A signing key is a version of letters, digits and _, and a seed of 32 bytes")
    return decode_signing_key_base64(ALGORITHM, version, encode_base64(seed))


def read_key_line(line: str) -> SigningKey:
    """The key of a line of a key file, `ed25519 a_1 <seed in base64>`; raises BadRequest if it is none."""
    words = line.split()
    if len(words) != 3 or words[0] != ALGORITHM:
        raise BadRequest("A line of a signing key file is: ed25519, a version, the seed in base64")
    return generate_key(decode_base64(words[2]), words[1])


def write_key_line(key: SigningKey) -> str:
    """The line of a key file that `read_key_line` reads, without an end of line."""
    return f"{key.alg} {key.version} {encode_signing_key_base64(key)}"


def read_verify_key(key_id: str, key: str) -> VerifyKey:
    """A key that another server published: its id and its base64. Raises BadRequest if we cannot use it."""
    decoded = decode_base64(key)
    if not key_id.startswith(f"{ALGORITHM}:") or len(decoded) != _KEY_BYTES:
        raise BadRequest(f"{key_id!r} is not an ed25519 key")
    return decode_verify_key_bytes(key_id, decoded)


def key_id_of(key: SigningKey | VerifyKey) -> str:
    """The id under which the key's signatures stand: `ed25519:a_1`."""
    return f"{key.alg}:{key.version}"


def sign_bytes(key: SigningKey, message: bytes) -> str:
    """The signature of a message, in base64."""
    return encode_base64(key.sign(message).signature)


def unsigned_json(obj: Mapping[str, Any]) -> bytes:
    """What a signature on an object covers."""
    return canonical_json({key: value for key, value in obj.items() if key not in ("signatures", "unsigned")})


def sign_json(obj: Mapping[str, Any], server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of an object with our signature beside those that it has."""
    return _with_signature(obj, server_name, key, unsigned_json(obj))


def sign_event(version: RoomVersion, pdu: Mapping[str, Any], server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of an event, which already carries its content hash, with our signature beside those that it has."""
    return _with_signature(pdu, server_name, key, essential_json(version, pdu))


def verify_json(obj: Mapping[str, Any], server_name: str, verify_key: VerifyKey, key_id: str) -> bool:
    """Whether `server_name` signed the object with this key, named `key_id`. Never raises on what others wrote."""
    try:
        return _is_signed(obj, server_name, verify_key, key_id, unsigned_json(obj))
    except BadRequest:
        return False


def verify_event(
    version: RoomVersion, pdu: Mapping[str, Any], server_name: str, verify_key: VerifyKey, key_id: str
) -> bool:
    """Whether `server_name` signed the event with this key: "this step should succeed whether we have been sent the
    full event or a redacted copy"."""
    try:
        return _is_signed(pdu, server_name, verify_key, key_id, essential_json(version, pdu))
    except BadRequest:
        return False


def is_signature(verify_key: VerifyKey, message: bytes, signature: str) -> bool:
    """Whether `signature`, in base64, is this key's of the message. Never raises on what others wrote."""
    try:
        decoded = decode_base64(signature)
        if len(decoded) != _SIGNATURE_BYTES:
            return False
        verify_key.verify(message, decoded)
    except (BadRequest, CryptoError):
        return False
    return True


def required_signers(version: RoomVersion, pdu: Mapping[str, Any]) -> set[str]:
    """The servers without whose signature the event is not to be accepted.

    The sender's, except on a third-party invite, which another server may send; in room versions 1 and 2 that of the
    event id; where restricted joins exist, that of the user who authorised the membership. Raises BadRequest if one of
    these has no domain.
    """
    signers = set() if _is_third_party_invite(pdu) else {domain_of(pdu["sender"])}
    if version.event_ids is EventIdFormat.CHOSEN:
        signers.add(domain_of(pdu["event_id"]))
    if version.restricted and pdu["type"] == "m.room.member" and _AUTHORISER in pdu["content"]:
        # "If the event is not validly signed by the homeserver of the user ID denoted by the key, reject", whatever
        # the membership is.
        authoriser = pdu["content"][_AUTHORISER]
        if not isinstance(authoriser, str):
            raise BadRequest(f"{_AUTHORISER} is not a user id")
        signers.add(domain_of(authoriser))
    return signers


def _is_third_party_invite(pdu: Mapping[str, Any]) -> bool:
    content = pdu["content"]
    if pdu["type"] != "m.room.member" or content.get("membership") != "invite":
        return False
    invite = content.get("third_party_invite")
    # Without `signed` nothing proves the invite: such an event gets no exemption, and no auth rule would let it pass.
    return isinstance(invite, Mapping) and isinstance(invite.get("signed"), Mapping)


def _with_signature(obj: Mapping[str, Any], server_name: str, key: SigningKey, message: bytes) -> dict[str, Any]:
    signatures = dict(obj.get("signatures", {}))
    signatures[server_name] = {**signatures.get(server_name, {}), key_id_of(key): sign_bytes(key, message)}
    return {**obj, "signatures": signatures}


def _is_signed(obj: Mapping[str, Any], server_name: str, verify_key: VerifyKey, key_id: str, message: bytes) -> bool:
    signature: object = obj.get("signatures")
    for name in (server_name, key_id):
        signature = signature.get(name) if isinstance(signature, Mapping) else None
    return isinstance(signature, str) and is_signature(verify_key, message, signature)
