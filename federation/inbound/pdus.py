"""The first three checks on what other servers send as events: format, signatures, content hash.

Every way into the house goes through here: transactions, back-fill, missing events, states, joins. Nothing is looked up
but keys; whether the rules of the room allow an event is judged later.

What is no event of the room version, or not signed as it must be, is dropped. An event with another content hash than
its content's was redacted on its way, or tampered with: only its redacted form is used. `unsigned` is no part of what
anybody vouched for, and does not come in.
https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol, TypeVar

from federation.keyring import LOOKUP_SECONDS, Signed, signed_event
from homeserver.domain.canonical import JSON_OBJECTS
from homeserver.domain.errors import BadRequest
from homeserver.domain.event import Event, read_event
from homeserver.domain.format import check_pdu_format
from homeserver.domain.hashing import check_content_hash, essential_json, event_id_of_hash, reference_hash
from homeserver.domain.identifiers import is_event_id
from homeserver.domain.redaction import redact
from homeserver.domain.versions import EventIdFormat, RoomVersion
from homeserver.telemetry.metrics import PDUS_CHECKED

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_good, _redacted, _format, _signature = (
    PDUS_CHECKED.labels(outcome) for outcome in ("good", "redacted", "format", "signature")
)


@dataclass(frozen=True, slots=True)
class Checked:
    """An event that its senders signed. `redacted`: its content was another one, so this is its redacted form."""

    event: Event
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is dropped. `event_id` is None if it has none that could be told."""

    event_id: str | None
    why: str


@dataclass(frozen=True, slots=True)
class _Read:
    """An event of the right format, and what must be signed of it."""

    checked: Checked
    signed: Signed


class Keys(Protocol):
    async def verify(self, items: Sequence[Signed], *, patience: float = ...) -> Sequence[str | None]: ...


class Threads(Protocol):
    async def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]: ...


class PduChecks:
    def __init__(self, keys: Keys, threads: Threads) -> None:
        self._keys = keys
        self._threads = threads

    async def check(
        self,
        version: RoomVersion,
        pdus: Sequence[object],
        *,
        room_id: str | None = None,
        patience: float = LOOKUP_SECONDS,
        unsigned_by: str | None = None,
    ) -> list[Checked | Refused]:
        """What comes of each, in order. `room_id`: events of other rooms are refused.

        `patience` in seconds bounds how long keys of other servers are waited for. `unsigned_by`: a server that need
        not have signed yet: ours, where it is asked to vouch for a join.
        """
        read = await self._threads.map(lambda pdu: read_pdu(version, pdu, room_id), pdus)
        if unsigned_by is not None:
            read = [_without(one, unsigned_by) for one in read]
        whys = iter(await self._keys.verify([one.signed for one in read if isinstance(one, _Read)], patience=patience))
        return [_verdict(one, next(whys)) if isinstance(one, _Read) else _counted(one) for one in read]


def good_events(checked: Sequence[Checked | Refused], room_id: str) -> list[Event]:
    """Those that passed. The others are dropped, and one line in the log tells of all of them."""
    refused = [one for one in checked if isinstance(one, Refused)]
    if refused:
        fields = {"room_id": room_id, "count": len(refused), "event_id": refused[0].event_id, "why": refused[0].why}
        logger.warning("dropped events of an answer", extra={"fields": fields})
    return [one.event for one in checked if isinstance(one, Checked)]


def read_pdu(version: RoomVersion, pdu: object, room_id: str | None) -> _Read | Refused:
    """Everything that can be said of a PDU without keys. Never raises on what others wrote."""
    try:
        check_pdu_format(version, pdu)
    except BadRequest as error:
        return Refused(_id_of_malformed(version, pdu), error.message)
    assert isinstance(pdu, JSON_OBJECTS), "it has the format"
    essential = essential_json(version, pdu)
    redacted = not check_content_hash(pdu, checked=version.strict_canonical_json)
    kept = redact(version, pdu) if redacted else {key: value for key, value in pdu.items() if key != "unsigned"}
    event = _event(version, kept, essential)
    if room_id is not None and event.room_id != room_id:
        return Refused(event.event_id, "it is an event of another room")
    signed = signed_event(version, pdu, essential)
    if not isinstance(signed, Signed):
        return Refused(event.event_id, signed)
    return _Read(Checked(event, redacted), signed)


def _without(read: _Read | Refused, server: str) -> _Read | Refused:
    if isinstance(read, Refused):
        return read
    return replace(read, signed=replace(read.signed, signers=read.signed.signers - {server}))


def _event(version: RoomVersion, pdu: Mapping[str, Any], essential: bytes) -> Event:
    if version.event_ids is EventIdFormat.CHOSEN:
        named: str = pdu["event_id"]
    else:
        named = event_id_of_hash(version, sha256(essential).digest())
    makes_room = version.room_id_is_create_hash and pdu["type"] == "m.room.create"
    return read_event(version, named, pdu, room_id="!" + named[1:] if makes_room else None)


def _id_of_malformed(version: RoomVersion, pdu: object) -> str | None:
    """What the sender calls it, if that can be told: the answer to a transaction names each event."""
    if not isinstance(pdu, JSON_OBJECTS):
        return None
    if version.event_ids is EventIdFormat.CHOSEN:
        named = pdu.get("event_id")
        return named if is_event_id(named) else None
    if not isinstance(pdu.get("content"), JSON_OBJECTS):
        return None
    try:
        # What makes it malformed may be a number that canonical JSON does not have.
        return event_id_of_hash(version, reference_hash(replace(version, strict_canonical_json=False), pdu))
    except BadRequest:
        return None


def _verdict(read: _Read, why: str | None) -> Checked | Refused:
    if why is not None:
        _signature.inc()
        return Refused(read.checked.event.event_id, why)
    (_redacted if read.checked.redacted else _good).inc()
    return read.checked


def _counted(refused: Refused) -> Refused:
    _format.inc()
    return refused
