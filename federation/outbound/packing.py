"""Transactions as they go out: canonical JSON, put together from texts that were made once for all servers.

A request is signed over its content, so the text of a transaction must be canonical. The texts of its PDUs are, and
the keys of a transaction are few: so nothing is parsed here, however many servers it goes to.
https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.domain.canonical import canonical_json
from homeserver.services.rooms.remote.outgoing import OutgoingPdu, OutgoingReceipt

# "A transaction can have at most 50 PDUs and 100 EDUs."
MAX_PDUS = 50
MAX_EDUS = 100
# In one EDU: servers take more, but not endlessly many.
MAX_IN_ONE = 100


@dataclass(frozen=True, slots=True)
class Units:
    """The ephemeral part of a transaction. `typing`: (room id, user id) -> does the user type?"""

    receipts: Sequence[OutgoingReceipt] = ()
    typing: Mapping[tuple[str, str], bool] | None = None
    presence: Sequence[Mapping[str, Any]] = ()

    def __bool__(self) -> bool:
        return bool(self.receipts or self.typing or self.presence)


@dataclass(frozen=True, slots=True)
class Transaction:
    """`body` is what goes out, the same at every attempt."""

    txn_id: str
    body: bytes
    pdus: Sequence[OutgoingPdu]
    units: Units


def pack(txn_id: str, origin: str, ts: int, pdus: Sequence[OutgoingPdu], units: Units) -> Transaction:
    """`ts`: ms. No more PDUs and EDUs than a transaction can have: that is the caller's duty."""
    rest = canonical_json({"origin": origin, "origin_server_ts": ts}, checked=True)[1:-1]
    edus = list(_edus(units))
    parts = [b'"edus":[' + b",".join(edus) + b"]"] if edus else []
    parts += [rest, b'"pdus":[' + b",".join(pdu.text for pdu in pdus) + b"]"]
    return Transaction(txn_id, b"{" + b",".join(parts) + b"}", pdus, units)


def take_receipts(waiting: Iterable[OutgoingReceipt], most: int) -> tuple[list[OutgoingReceipt], int]:
    """The first receipts that fit into `most` EDUs, and how many EDUs these are.

    A user has one receipt per room in an EDU, so receipts of several threads go into several EDUs.
    """
    taken: list[OutgoingReceipt] = []
    counts: dict[tuple[str, str], int] = {}
    for receipt in waiting:
        place = (receipt.room_id, receipt.user_id)
        if len(taken) >= MAX_IN_ONE or counts.get(place, 0) >= most:
            break
        counts[place] = counts.get(place, 0) + 1
        taken.append(receipt)
    return taken, max(counts.values(), default=0)


def _edus(units: Units) -> Iterable[bytes]:
    for content in _receipt_contents(units.receipts):
        yield _edu("m.receipt", content)
    for (room_id, user_id), typing in (units.typing or {}).items():
        yield _edu("m.typing", {"room_id": room_id, "typing": typing, "user_id": user_id})
    if units.presence:
        yield _edu("m.presence", {"push": list(units.presence)})


def _edu(type: str, content: Mapping[str, Any]) -> bytes:
    return canonical_json({"content": content, "edu_type": type})


def _receipt_contents(receipts: Iterable[OutgoingReceipt]) -> list[dict[str, Any]]:
    """https://spec.matrix.org/v1.19/server-server-api/#receipts"""
    contents: list[dict[str, Any]] = []
    counts: dict[tuple[str, str], int] = {}
    for receipt in receipts:
        number = counts.get((receipt.room_id, receipt.user_id), 0)
        counts[receipt.room_id, receipt.user_id] = number + 1
        if number == len(contents):
            contents.append({})
        data: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            data["thread_id"] = receipt.thread_id
        of_room = contents[number].setdefault(receipt.room_id, {"m.read": {}})
        of_room["m.read"][receipt.user_id] = {"data": data, "event_ids": [receipt.event_id]}
    return contents
