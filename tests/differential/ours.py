"""Our answers to the questions about a room, in the words that the oracle uses."""

from collections.abc import Mapping, Sequence
from typing import Any

from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json
from unpaddedbase64 import encode_base64

from homeserver.domain.authorization.rules import authorize, check_auth_events
from homeserver.domain.authorization.selection import CREATE, auth_state_keys
from homeserver.domain.event import Event, StateKey, StateMap
from homeserver.domain.hashing import content_hash, event_id, reference_hash, room_id_of_create
from homeserver.domain.redaction import redact
from homeserver.domain.resolution.graph import Missing
from homeserver.domain.resolution.state import resolve
from tests.differential.cases import Judgement, Room

# The same key as in oracle_process.py.
SIGNING_KEY = decode_signing_key_base64("ed25519", "test", encode_base64(b"\x01" * 32))


def facts(room: Room, event: Event) -> dict[str, Any]:
    """What is asked of every event."""
    version, pdu = room.version, event.pdu
    room_id = event.pdu.get("room_id")
    if event.type == "m.room.create" and version.room_id_is_create_hash:
        room_id = room_id_of_create(version, pdu)
    redacted = redact(version, pdu)
    cited = {id_: room.events[id_] for id_ in event.auth_events}
    return {
        "auth_events": _verdict(check_auth_events(event, cited, room.rejected)),
        "event_id": event_id(version, pdu),
        "room_id": room_id,
        "content_hash": content_hash(pdu),
        "reference_hash": reference_hash(version, pdu).hex(),
        "redacted": redacted,
        "signature": _signature(redacted),
        "selection": [
            list(key) for key in auth_state_keys(version, event.type, event.sender, event.state_key, event.content)
        ],
    }


def _signature(redacted: Mapping[str, Any]) -> str:
    unsigned = {key: value for key, value in redacted.items() if key not in ("signatures", "unsigned")}
    signature: str = sign_json(unsigned, "sign.test", SIGNING_KEY)["signatures"]["sign.test"]["ed25519:test"]
    return signature


def judge(room: Room, case: Judgement) -> str:
    """ "allow" or "deny: why"."""
    state: dict[StateKey, Event] = {room.events[id_].key: room.events[id_] for id_ in case.state}
    return _verdict(authorize(room.events[case.event], state.get, state.get(CREATE)))


def _verdict(why: str | None) -> str:
    return "allow" if why is None else f"deny: {why}"


def resolution(room: Room, forks: Sequence[StateMap]) -> list[int] | str:
    """The places of the events in the resolved state; it must not matter whether an order of the events is known."""
    place = {id_: index for index, id_ in enumerate(room.events)}
    resolved, other = (resolve(room.version, forks, room.events, room.rejected, order) for order in (None, place.get))
    assert not isinstance(resolved, Missing), "the room holds every event that it names"
    return sorted(place[id_] for id_ in resolved.values()) if resolved == other else "differs with an order"
