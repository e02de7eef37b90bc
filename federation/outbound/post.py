"""One transaction goes to one server, and what came of it: taken, refused for what is in it, or not delivered.

Not here: what goes into a transaction (`packing`), and what is done after each outcome (`destination`).
https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
"""

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol
from urllib.parse import quote

from federation.outbound.packing import Transaction, Units, pack
from homeserver.domain.errors import RemoteRefused, RemoteUnreachable
from homeserver.ports import Clock
from homeserver.services.rooms.remote.outgoing import OutgoingPdu
from homeserver.telemetry.metrics import EDUS_SENT, PDUS_SENT, TRANSACTIONS_SENT

logger = logging.getLogger(__name__)

PATH = "/_matrix/federation/v1/send/"
SECONDS = 60.0
MAX_ANSWER = 1 << 20
# Statuses by which a server says that it does not want what is in the transaction.
CONTENT = (400, 413, 422)
# How many errors of one answer are logged.
MAX_LOGGED = 5


class Outcome(Enum):
    TAKEN = "taken"
    REFUSED = "refused"  # for what is in it
    BROKEN = "broken"  # the server failed over it: perhaps for what is in it
    AWAY = "away"


class Calls(Protocol):
    """`federation.calls.Calls`, as far as it is needed here."""

    async def put(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any] | bytes,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = 8 << 20,
    ) -> Any: ...


class Backoff(Protocol):
    async def wait_ms(self, server_name: str) -> int: ...


class Partners(Protocol):
    def allows(self, server_name: str) -> bool: ...


class Post:
    """`run_id` tells the transactions of this run of the process from those of others."""

    def __init__(
        self, server_name: str, run_id: str, calls: Calls, backoff: Backoff, partners: Partners, clock: Clock
    ) -> None:
        self._server_name = server_name
        self._run_id = run_id
        self._calls = calls
        self._backoff = backoff
        self._partners = partners
        self._clock = clock
        self._count = 0

    def allows(self, server: str) -> bool:
        """Whether it is another server, and the operator lets us talk to it."""
        return server != self._server_name and self._partners.allows(server)

    async def wait_seconds(self, server: str) -> float:
        """How long the server is left alone from now on."""
        return await self._backoff.wait_ms(server) / 1000

    def pack(self, pdus: Sequence[OutgoingPdu], units: Units) -> Transaction:
        """A transaction with an id of its own."""
        self._count += 1
        return pack(f"{self._run_id}-{self._count}", self._server_name, self._clock.now_ms(), pdus, units)

    async def send(self, server: str, transaction: Transaction) -> Outcome:
        outcome = await self._send(server, transaction)
        TRANSACTIONS_SENT.labels(outcome.value).inc()
        return outcome

    async def _send(self, server: str, transaction: Transaction) -> Outcome:
        try:
            answer = await self._calls.put(
                server,
                PATH + quote(transaction.txn_id, safe=""),
                transaction.body,
                timeout=SECONDS,
                max_bytes=MAX_ANSWER,
            )
        except RemoteRefused as error:
            logger.info("%s refused a transaction: %s %s", server, error.status, error)
            if error.status in CONTENT:
                return Outcome.REFUSED
            return Outcome.BROKEN if error.status == 500 else Outcome.AWAY
        except RemoteUnreachable as error:
            logger.debug("a transaction waits: %s", error)
            return Outcome.AWAY
        self._count_taken(server, transaction, answer)
        return Outcome.TAKEN

    @staticmethod
    def _count_taken(server: str, transaction: Transaction, answer: object) -> None:
        """An error of one PDU is the server's last word on it."""
        results = answer.get("pdus") if isinstance(answer, Mapping) else None
        errors = {
            pdu.event_id: result.get("error")
            for pdu in transaction.pdus
            if isinstance(results, Mapping)
            and isinstance(result := results.get(pdu.event_id), Mapping)
            and result.get("error")
        }
        for event_id, error in list(errors.items())[:MAX_LOGGED]:
            fields = {"destination": server, "event_id": event_id, "error": str(error)[:300]}
            logger.info("another server does not take an event", extra={"fields": fields})
        PDUS_SENT.labels("error").inc(len(errors))
        PDUS_SENT.labels("taken").inc(len(transaction.pdus) - len(errors))
        units = transaction.units
        counts = {
            "m.receipt": len(units.receipts),
            "m.typing": len(units.typing or ()),
            "m.presence": len(units.presence),
        }
        for type, count in counts.items():
            if count:
                EDUS_SENT.labels(type).inc(count)
