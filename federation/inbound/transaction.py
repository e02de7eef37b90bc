"""A transaction of another server: PDUs for many rooms, and EDUs.

Each PDU has an answer of its own, and a bad one harms none of the others. PDUs of a room are taken in the order in
which they came, rooms beside each other. Nothing is fetched here but keys: an event that follows what we do not have is
kept in a table and let in later. So the answer comes soon, and what it acknowledges survives a crash.
https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from federation.inbound.pdus import Checked, Refused
from federation.inbound.waiting import WaitingRooms
from homeserver.domain.errors import BadRequest
from homeserver.domain.event import Event
from homeserver.domain.identifiers import is_room_id
from homeserver.domain.verdict import Accepted, Rejected, SoftFailed
from homeserver.domain.versions import RoomVersion
from homeserver.services.rooms.remote.receiving import Incomplete, Known, RemoteEvents
from homeserver.services.rooms.remote.staging import Staging
from homeserver.telemetry.metrics import PDUS_RECEIVED, TRANSACTIONS_RECEIVED

logger = logging.getLogger(__name__)

MAX_PDUS = 50
MAX_EDUS = 100
# Answers that are remembered, so that a transaction that comes twice is answered as before.
MAX_REMEMBERED = 5_000
# How long a transaction waits for the keys of servers.
KEY_SECONDS = 10.0

Result = dict[str, Any]


class Checks(Protocol):
    async def check(
        self, version: RoomVersion, pdus: Sequence[object], *, room_id: str | None = None, patience: float = ...
    ) -> list[Checked | Refused]: ...


class Acls(Protocol):
    async def allowed(self, room_ids: Sequence[str], server_name: str) -> set[str]: ...


class Edus(Protocol):
    async def take(self, origin: str, edus: Sequence[object]) -> None: ...


class Strays(Protocol):
    async def take(self, origin: str, room_id: str, pdu: Mapping[str, Any]) -> str | None: ...


class Outages(Protocol):
    async def sign_of_life(self, server_name: str) -> None: ...


class Transactions:
    """`strays` takes what concerns rooms that we are not in: ends of invites."""

    def __init__(
        self,
        events: RemoteEvents,
        staging: Staging,
        waiting: WaitingRooms,
        checks: Checks,
        acls: Acls,
        edus: Edus,
        strays: Strays,
        outages: Outages,
    ) -> None:
        self._outages = outages
        self._events = events
        self._staging = staging
        self._waiting = waiting
        self._checks = checks
        self._acls = acls
        self._edus = edus
        self._strays = strays
        self._answers: OrderedDict[tuple[str, str], asyncio.Future[Result]] = OrderedDict()

    async def receive(self, origin: str, txn_id: str, body: Mapping[str, Any]) -> Result:
        """The answer: `pdus`, with a result for each event id. Raises BadRequest."""
        pdus, edus = body.get("pdus", []), body.get("edus", [])
        if not isinstance(pdus, list) or not isinstance(edus, list):
            raise BadRequest("pdus and edus must be lists", "M_BAD_JSON")
        if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
            raise BadRequest(f"A transaction holds at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs", "M_TOO_LARGE")
        known = self._answers.get((origin, txn_id))
        if known is not None:
            return await asyncio.shield(known)
        answer = asyncio.ensure_future(self._process(origin, pdus, edus))
        self._answers[origin, txn_id] = answer
        answer.add_done_callback(lambda done: self._forget_failure((origin, txn_id), done))
        if len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)
        # It is finished even if the connection breaks: the server will ask again.
        return await asyncio.shield(answer)

    def _forget_failure(self, key: tuple[str, str], done: asyncio.Future[Result]) -> None:
        """What failed is tried again when it comes again."""
        if (done.cancelled() or done.exception() is not None) and self._answers.get(key) is done:
            del self._answers[key]

    async def _process(self, origin: str, pdus: Sequence[object], edus: Sequence[object]) -> Result:
        TRANSACTIONS_RECEIVED.inc()
        await self._outages.sign_of_life(origin)
        by_room: dict[str, list[Mapping[str, Any]]] = {}
        for pdu in pdus:
            room_id = pdu.get("room_id") if isinstance(pdu, Mapping) else None
            if isinstance(pdu, Mapping) and isinstance(room_id, str) and is_room_id(room_id):
                by_room.setdefault(room_id, []).append(pdu)
            else:
                # It has no id that could be told: nothing can be answered for it.
                PDUS_RECEIVED.labels("refused").inc()
        results: dict[str, Result] = {}
        allowed = await self._acls.allowed(list(by_room), origin) if by_room else set()
        rooms = [self._take_room(origin, room_id, found, room_id in allowed) for room_id, found in by_room.items()]
        for result in await asyncio.gather(*rooms):
            results.update(result)
        if edus:
            await self._edus.take(origin, edus)
        return {"pdus": results}

    async def _take_room(
        self, origin: str, room_id: str, pdus: Sequence[Mapping[str, Any]], allowed: bool
    ) -> dict[str, Result]:
        version = await self._events.version(room_id)
        if version is None:
            return await self._take_strays(origin, room_id, pdus)
        results: dict[str, Result] = {}
        events: list[Event] = []
        for one in await self._checks.check(version, pdus, room_id=room_id, patience=KEY_SECONDS):
            if isinstance(one, Checked) and allowed:
                events.append(one.event)
                continue
            event_id = one.event.event_id if isinstance(one, Checked) else one.event_id
            why = one.why if isinstance(one, Refused) else "The room does not let your server in"
            PDUS_RECEIVED.labels("refused").inc()
            logger.warning("refused a PDU", extra={"fields": {"origin": origin, "event_id": event_id, "why": why}})
            if event_id is not None:
                results[event_id] = {"error": why}
        if events:
            await self._let_in(origin, room_id, events, results)
        return results

    async def _let_in(self, origin: str, room_id: str, events: Sequence[Event], results: dict[str, Result]) -> None:
        """Appends what can be appended, and keeps the others until what they follow is here."""
        incomplete: list[Event] = []
        for event, outcome in zip(events, await self._events.append(room_id, events), strict=True):
            results[event.event_id] = {}
            match outcome:
                case Accepted():
                    PDUS_RECEIVED.labels("accepted").inc()
                case SoftFailed():
                    # "This MUST NOT be told": to the sender it is an event like any other.
                    PDUS_RECEIVED.labels("soft_failed").inc()
                case Rejected(why):
                    PDUS_RECEIVED.labels("rejected").inc()
                    results[event.event_id] = {"error": why}
                case Known():
                    PDUS_RECEIVED.labels("known").inc()
                case Incomplete():
                    incomplete.append(event)
        if incomplete:
            taken = await self._staging.add(room_id, origin, incomplete)
            PDUS_RECEIVED.labels("waiting").inc(taken)
            PDUS_RECEIVED.labels("refused").inc(len(incomplete) - taken)
            for event in incomplete[taken:]:
                results[event.event_id] = {"error": "Too many events of this room wait for what they follow"}
            self._waiting.wake(room_id)

    async def _take_strays(self, origin: str, room_id: str, pdus: Sequence[Mapping[str, Any]]) -> dict[str, Result]:
        results: dict[str, Result] = {}
        for pdu in pdus:
            PDUS_RECEIVED.labels("refused").inc()
            event_id = await self._strays.take(origin, room_id, pdu)
            if event_id is not None:
                results[event_id] = {}
        return results
