"""The rules for `m.room.member` events: who may join, invite, leave, kick, ban and knock.
https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules (rule 5)
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from homeserver.domain.authorization.restricted import authorize_vouched_join, is_restricted
from homeserver.domain.authorization.selection import JOIN_RULES, StateLookup, third_party_token
from homeserver.domain.event import Event
from homeserver.domain.power import PowerLevels, creators

# An invite of 64 KiB can pair hundreds of signatures with hundreds of keys; honest ones pair one with two.
_MAX_SIGNATURE_CHECKS = 256


def membership_of(state: StateLookup, user_id: str) -> object:
    """The membership of a user in a state: "leave" for somebody who was never there."""
    member = state(("m.room.member", user_id))
    return "leave" if member is None else member.content.get("membership")


def authorize_membership(event: Event, state: StateLookup, create: Event, power: PowerLevels) -> str | None:
    """None if a member event is allowed in this state, otherwise the reason why not."""
    # 5.1: it must say whose membership it is, and which.
    if event.state_key is None or "membership" not in event.content:
        return "A member event needs a state key and a membership."
    membership = event.content["membership"]
    # 5.2, the signature of the vouching server, is `homeserver.domain.authorization.restricted`.
    if membership == "join":
        return _authorize_join(event, event.state_key, state, create, power)
    if membership == "knock" and event.version.knock:
        return _authorize_knock(event, event.state_key, state)
    rule = _BY_MEMBERSHIP.get(membership) if isinstance(membership, str) else None
    # 5.8
    if rule is None:
        return "The membership is unknown."
    return rule(event, event.state_key, state, power)


def _join_rule(state: StateLookup) -> object:
    rules = state(JOIN_RULES)
    return "invite" if rules is None else rules.content.get("join_rule", "invite")


def _authorize_join(event: Event, target: str, state: StateLookup, create: Event, power: PowerLevels) -> str | None:
    version = event.version
    # 5.3.1: the creator enters the empty room. Additional creators do not.
    if event.prev_events == (create.event_id,):
        first = create.sender if version.creator_is_sender else next(iter(creators(version, create)), None)
        if target == first:
            return None
    # 5.3.2, 5.3.3
    if event.sender != target:
        return "Nobody can join for somebody else."
    current = membership_of(state, target)
    if current == "ban":
        return "The sender is banned."
    rule = _join_rule(state)
    # 5.3.4: who is inside may say so again, and who is invited may enter.
    if rule == "invite" or (rule == "knock" and version.knock):
        return None if current in ("invite", "join") else "The sender is not invited."
    # 5.3.5
    if is_restricted(version, rule):
        return None if current in ("invite", "join") else authorize_vouched_join(event, state, power)
    # 5.3.6, 5.3.7
    return None if rule == "public" else "The join rules let nobody in."


def _authorize_invite(event: Event, target: str, state: StateLookup, power: PowerLevels) -> str | None:
    # 5.4.1
    if "third_party_invite" in event.content:
        return _authorize_third_party_invite(event, target, state)
    # 5.4.2, 5.4.3
    if membership_of(state, event.sender) != "join":
        return "The sender is not joined."
    if membership_of(state, target) in ("join", "ban"):
        return "The invited user is joined or banned."
    # 5.4.4, 5.4.5
    if power.of_user(event.sender) >= power.for_action("invite"):
        return None
    return "The sender may not invite."


def _authorize_third_party_invite(event: Event, target: str, state: StateLookup) -> str | None:
    # 5.4.1.1
    if membership_of(state, target) == "ban":
        return "The invited user is banned."
    # 5.4.1.2, 5.4.1.3
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    token = third_party_token(event.content)
    if not isinstance(signed, Mapping) or "mxid" not in signed or token is None:
        return "The third-party invite holds no signed user id and token."
    # 5.4.1.4
    if signed["mxid"] != target:
        return "The third-party invite was signed for another user."
    # 5.4.1.5, 5.4.1.6
    promise = state(("m.room.third_party_invite", token))
    if promise is None:
        return "The room knows no third-party invite with this token."
    if event.sender != promise.sender:
        return "The third-party invite was sent by another user."
    # 5.4.1.7, 5.4.1.8
    if _is_signed_by_any(signed, promise.content):
        return None
    return "No key of the third-party invite has signed it."


def _authorize_leave(event: Event, target: str, state: StateLookup, power: PowerLevels) -> str | None:
    current = membership_of(state, target)
    # 5.5.1: leaving, or declining an invitation, or withdrawing a knock.
    if event.sender == target:
        if current in ("invite", "join") or (current == "knock" and event.version.knock):
            return None
        return "The sender is not in the room, so cannot leave it."
    # 5.5.2
    if membership_of(state, event.sender) != "join":
        return "The sender is not joined."
    # 5.5.3: unbanning asks for both levels.
    level = power.of_user(event.sender)
    if current == "ban" and level < power.for_action("ban"):
        return "The sender may not unban."
    # 5.5.4, 5.5.5
    if level >= power.for_action("kick") and power.of_user(target) < level:
        return None
    return "The sender may not kick this user."


def _authorize_ban(event: Event, target: str, state: StateLookup, power: PowerLevels) -> str | None:
    # 5.6.1
    if membership_of(state, event.sender) != "join":
        return "The sender is not joined."
    # 5.6.2, 5.6.3
    level = power.of_user(event.sender)
    if level >= power.for_action("ban") and power.of_user(target) < level:
        return None
    return "The sender may not ban this user."


def _authorize_knock(event: Event, target: str, state: StateLookup) -> str | None:
    # 5.7.1
    rule = _join_rule(state)
    if rule != "knock" and not (rule == "knock_restricted" and event.version.knock_restricted):
        return "The join rules allow no knocking."
    # 5.7.2
    if event.sender != target:
        return "Nobody can knock for somebody else."
    # 5.7.3, 5.7.4
    if membership_of(state, event.sender) in ("ban", "invite", "join"):
        return "The sender is banned, invited or joined, so cannot knock."
    return None


_BY_MEMBERSHIP: Mapping[str, Callable[[Event, str, StateLookup, PowerLevels], str | None]] = {
    "invite": _authorize_invite,
    "leave": _authorize_leave,
    "ban": _authorize_ban,
}


def _is_signed_by_any(signed: Mapping[str, Any], promise: Mapping[str, Any]) -> bool:
    """Whether any Ed25519 signature in `signed` was made with any key that the third-party invite names."""
    try:
        message = encode_canonical_json({key: signed[key] for key in signed if key not in ("signatures", "unsigned")})
    except ValueError:
        return False
    pairs = ((key, signature) for signature in _signatures(signed) for key in _public_keys(promise))
    return any(_is_signature(key, message, signature) for key, signature in islice(pairs, _MAX_SIGNATURE_CHECKS))


def _signatures(signed: Mapping[str, Any]) -> Iterator[bytes]:
    signatures = signed.get("signatures")
    for by_key in signatures.values() if isinstance(signatures, Mapping) else ():
        for key_id, value in by_key.items() if isinstance(by_key, Mapping) else ():
            signature = _decode(value)
            if key_id.startswith("ed25519:") and signature is not None and len(signature) == 64:
                yield signature


def _public_keys(promise: Mapping[str, Any]) -> Iterator[bytes]:
    values = [promise.get("public_key")]
    listed = promise.get("public_keys")
    for entry in listed if isinstance(listed, list) else ():
        values.append(entry.get("public_key") if isinstance(entry, Mapping) else None)
    for value in values:
        key = _decode(value)
        if key is not None and len(key) == 32:
            yield key


def _decode(value: object) -> bytes | None:
    """Bytes of unpadded base64 "using the standard or URL-safe alphabets"."""
    if not isinstance(value, str):
        return None
    try:
        return b64decode(value.replace("-", "+").replace("_", "/").rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return None


def _is_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except BadSignatureError:
        return False
    return True
