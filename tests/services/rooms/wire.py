"""Whether an event that storage gives back may be sent to another server as it is."""

from collections.abc import Mapping

from signedjson.key import get_verify_key
from signedjson.types import SigningKey

from homeserver.domain.event import Event
from homeserver.domain.format import check_pdu_format
from homeserver.domain.hashing import check_content_hash, event_id, room_id_of_create
from homeserver.domain.signing import key_id_of, required_signers, verify_event


def assert_intact(event: Event, keys: Mapping[str, SigningKey], *, redacted: bool = False) -> None:
    """Its format, its id, its signatures and, unless it is redacted, its content hash are what a receiver wants."""
    version, pdu = event.version, event.pdu
    check_pdu_format(version, pdu)
    assert event_id(version, pdu) == event.event_id
    assert check_content_hash(pdu) != redacted
    for server in required_signers(version, pdu):
        key = keys[server]
        assert verify_event(version, pdu, server, get_verify_key(key), key_id_of(key))
    assert "unsigned" not in pdu
    if event.type == "m.room.create":
        assert room_id_of_create(version, pdu) == event.room_id
    else:
        assert pdu["room_id"] == event.room_id
