"""What waits for one server, and the sending of it: one transaction at a time, in order.

    in memory  --(it does not answer, or too much waits)-->  behind  --(it has taken what it missed)-->  in memory

While a server takes what it is sent, events come from the outbox and wait in memory. A server that lies behind costs a
number: up to where it has everything. What comes after that is read from the tables, a page at a time, once it answers
again; typing and presence are dropped meanwhile, for they are old by then.

A transaction that the server refuses for what is in it is sent again in halves, until one event is left that it does
not want: that one is set aside, and what comes after it goes on. Here is no task and no timer (`schedule`).
"""

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from federation.outbound.packing import MAX_EDUS, MAX_PDUS, Transaction, Units, take_receipts
from federation.outbound.post import Outcome
from homeserver.domain.errors import Unavailable
from homeserver.services.rooms.remote.outgoing import Missed, OutgoingPdu, OutgoingReceipt
from homeserver.services.rooms.remote.progress import Reached
from homeserver.telemetry.metrics import PDUS_SENT

logger = logging.getLogger(__name__)

# Events that wait in memory for one server; what is above it is read from the tables.
MAX_WAITING = 500
MAX_RECEIPTS = 1_000
MAX_PRESENCE = 100
MAX_RECEIPT_EDUS = 10
MAX_TYPING = MAX_EDUS - MAX_RECEIPT_EDUS - 1
# Receipts alone are sent no more often than this.
RECEIPT_SECONDS = 5.0
# Refusals in a row without a pause: enough to find one event among fifty.
FREE_REFUSALS = 8
# A transaction is kept for its next attempt if that is no later than this.
KEEP_SECONDS = 60.0
# A server that fails over one event alone, so often in a row, will not take it.
MOST_BROKEN = 10
LONGEST_PAUSE = 3_600.0

ReceiptKey = tuple[str, str, str | None]


class Courier(Protocol):
    """`federation.outbound.post.Post` is one."""

    def allows(self, server: str) -> bool: ...
    async def wait_seconds(self, server: str) -> float: ...
    def pack(self, pdus: Any, units: Units) -> Transaction: ...
    async def send(self, server: str, transaction: Transaction) -> Outcome: ...


class Tables(Protocol):
    """`homeserver.services.rooms.remote.outgoing.Outgoing` is one."""

    async def list_missed(self, server: str, after: int, upto: int) -> Missed: ...
    async def list_receipts(self, server: str | None, after: int, upto: int) -> list[OutgoingReceipt]: ...


class Handed(Protocol):
    """Up to where everything was handed to the destinations."""

    @property
    def handed(self) -> Reached: ...

    def now(self) -> float:
        """Seconds of the loop's clock."""


class Destination:
    """`behind`: what it has, if it lies behind. `first_pause`: seconds after a first failure, doubled with the next."""

    def __init__(
        self,
        server: str,
        courier: Courier,
        tables: Tables,
        handed: Handed,
        behind: Reached | None = None,
        first_pause: float = 5.0,
    ) -> None:
        self.server = server
        self._courier = courier
        self._tables = tables
        self._handed = handed
        self._first_pause = first_pause
        # Events in order. Those after `_after` are not here but in the tables; None: all are here.
        self._pdus: deque[OutgoingPdu] = deque()
        self._after: int | None = None if behind is None else behind.events
        # Taken while the tables are read; None: they are not.
        self._fresh: deque[OutgoingPdu] | None = None
        self._receipts: dict[ReceiptKey, OutgoingReceipt] = {}
        self._receipts_after: int | None = None if behind is None else behind.receipts
        self._receipts_due = 0.0
        self._receipts_sent = -RECEIPT_SECONDS
        self._typing: dict[tuple[str, str], bool] = {}
        self._presence: dict[str, Mapping[str, Any]] = {}
        # What is under way, or goes out again.
        self._head: Transaction | None = None
        # How many events go into one transaction; whether they go without ephemeral units.
        self._size = MAX_PDUS
        self._alone = False
        self._failures = 0
        self._not_before = 0.0

    # --- what is to be sent ---------------------------------------------------------------------------------------

    def add(self, pdu: OutgoingPdu) -> bool:
        """An event, later than all before. False if the server lies behind, and is not to be woken for it."""
        if self._after is not None:
            if self._fresh is not None and len(self._fresh) <= MAX_WAITING:
                self._fresh.append(pdu)
            return False
        self._pdus.append(pdu)
        if len(self._pdus) >= MAX_WAITING:
            self._after = pdu.position
        return True

    def add_receipt(self, receipt: OutgoingReceipt, delay: float) -> bool:
        """A receipt, in `delay` seconds at the latest. False as for `add`."""
        if self._receipts_after is not None:
            return False
        now = self._handed.now()
        due = max(now + delay, self._receipts_sent + RECEIPT_SECONDS)
        self._receipts_due = due if not self._receipts else min(due, self._receipts_due)
        key = (receipt.room_id, receipt.user_id, receipt.thread_id)
        self._receipts.pop(key, None)
        self._receipts[key] = receipt
        if len(self._receipts) > MAX_RECEIPTS:
            self._receipts.pop(next(iter(self._receipts)))
        return self._after is None

    def set_typing(self, room_id: str, user_id: str, typing: bool) -> bool:
        """False as for `add`: then it is not told."""
        if self._after is not None:
            return False
        if (room_id, user_id) in self._typing or len(self._typing) < MAX_TYPING:
            self._typing[room_id, user_id] = typing
        return True

    def add_presence(self, user_id: str, update: Mapping[str, Any]) -> bool:
        """False as for `add`: then it is not told."""
        if self._after is not None:
            return False
        self._presence.pop(user_id, None)
        self._presence[user_id] = update
        if len(self._presence) > MAX_PRESENCE:
            self._presence.pop(next(iter(self._presence)))
        return True

    # --- how far it is --------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """There is nothing for it."""
        return not (self._head or self._pdus or self._receipts or self._typing or self._presence or self.is_behind)

    @property
    def is_behind(self) -> bool:
        """Something for it is not in memory."""
        return self._after is not None or self._receipts_after is not None

    @property
    def waiting(self) -> int:
        """Events in memory."""
        return len(self._pdus) + (0 if self._head is None else len(self._head.pdus))

    def reached(self) -> Reached | None:
        """Up to where it has everything; None if it has all that was handed out."""
        events, receipts = self._first_event(), self._first_receipt()
        if events is None and receipts is None:
            return None
        handed = self._handed.handed
        return Reached(
            handed.events if events is None else events - 1,
            handed.receipts if receipts is None else receipts - 1,
        )

    def _first_event(self) -> int | None:
        """A position before which it has all events."""
        first = None if self._after is None else self._after + 1
        if self._pdus:
            first = self._pdus[0].position if first is None else min(first, self._pdus[0].position)
        if self._head is not None and self._head.pdus:
            first = self._head.pdus[0].position if first is None else min(first, self._head.pdus[0].position)
        return first

    def _first_receipt(self) -> int | None:
        under_way = () if self._head is None else self._head.units.receipts
        positions = [receipt.position for receipt in (*self._receipts.values(), *under_way)]
        if self._receipts_after is not None:
            positions.append(self._receipts_after + 1)
        return min(positions, default=None)

    # --- sending --------------------------------------------------------------------------------------------------

    async def work(self) -> float | None:
        """Sends what there is. In how many seconds to come again; None: when there is something new."""
        while not self.is_idle:
            if not self._courier.allows(self.server):
                self._drop_all()
                return None
            rest = self._not_before - self._handed.now()
            if rest > 0:
                return rest
            wait = await self._courier.wait_seconds(self.server)
            if wait > 0:
                self._fall_behind(wait)
                return wait
            if self._head is None and self.is_behind and not self._pdus:
                try:
                    await self._read_missed()
                except Unavailable as error:
                    logger.warning("what waits for %s cannot be read now: %s", self.server, error)
                    return self._first_pause
            head = self._head = self._head or self._pack()
            if head is None and self.is_behind:
                continue  # nothing on this page concerns it
            if head is None:
                return max(0.0, self._receipts_due - self._handed.now()) if self._receipts else None
            pause = self._learn(head, await self._courier.send(self.server, head))
            if pause:
                self._not_before = self._handed.now() + pause
                return pause
        return None

    def hurry(self) -> None:
        """It may be tried before its pause is over: it asked something of us, or answered."""
        self._not_before = 0.0

    def _pack(self) -> Transaction | None:
        """The next transaction, if there is something to send now."""
        pdus = [self._pdus.popleft() for _ in range(min(self._size, len(self._pdus)))]
        units = Units()
        if not (pdus and self._alone) and self._after is None:
            receipts: list[OutgoingReceipt] = []
            if pdus or self._typing or self._presence or self._handed.now() >= self._receipts_due:
                receipts, _ = take_receipts(self._receipts.values(), MAX_RECEIPT_EDUS)
            units = Units(receipts, self._typing, list(self._presence.values()))
            for receipt in receipts:
                del self._receipts[receipt.room_id, receipt.user_id, receipt.thread_id]
            self._typing, self._presence = {}, {}
        if not pdus and not units:
            return None
        if units.receipts:
            self._receipts_sent = self._handed.now()
            self._receipts_due = self._receipts_sent + RECEIPT_SECONDS
        return self._courier.pack(pdus, units)

    def _learn(self, head: Transaction, outcome: Outcome) -> float:
        """What follows from an outcome; for how many seconds to leave the server alone."""
        if outcome is Outcome.TAKEN:
            self._leave(head)
            self._failures, self._size = 0, min(MAX_PDUS, 2 * self._size)
            self._alone = self._alone and not head.units
            return 0.0
        self._failures += 1
        pause = self._pause(self._failures)
        if outcome is Outcome.AWAY:
            self._fall_behind(pause)
        elif outcome is Outcome.REFUSED:
            self._leave(head)
            self._split(head)
            pause = self._pause(self._failures - FREE_REFUSALS)
            if pause > KEEP_SECONDS:
                self._fall_behind(pause)
        else:
            self._size = max(1, len(head.pdus) // 2)
            if len(head.pdus) <= 1 and self._failures > MOST_BROKEN:
                self._leave(head)
                self._split(head)
            self._fall_behind(LONGEST_PAUSE)
        return pause

    def _leave(self, head: Transaction) -> None:
        """It will not be sent again as it is."""
        self._head = None
        if self._after is not None and head.pdus:
            self._after = max(self._after, head.pdus[-1].position)

    def _split(self, head: Transaction) -> None:
        """Something in this transaction is not wanted: less of it goes out next, or the one thing is set aside."""
        if head.pdus and head.units:
            self._alone = True
            self._size = len(head.pdus)
            self._pdus.extendleft(reversed(head.pdus))
            for receipt in head.units.receipts:
                self._receipts.setdefault((receipt.room_id, receipt.user_id, receipt.thread_id), receipt)
        elif len(head.pdus) > 1:
            self._size = len(head.pdus) // 2
            self._pdus.extendleft(reversed(head.pdus))
        elif head.pdus:
            self._set_aside(head.pdus[0])
        else:
            self._alone = False
            logger.warning("%s refuses receipts, typing or presence: they are dropped", self.server)

    def _set_aside(self, pdu: OutgoingPdu) -> None:
        PDUS_SENT.labels("set_aside").inc()
        fields = {"destination": self.server, "event_id": pdu.event_id}
        logger.warning("another server refuses an event: it is set aside", extra={"fields": fields})

    def _pause(self, failures: int) -> float:
        return min(self._first_pause * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE) if failures > 0 else 0.0

    # --- behind ---------------------------------------------------------------------------------------------------

    def _fall_behind(self, pause: float) -> None:
        """Gives up what is in memory, for it can be read again. The transaction under way is kept for a short pause:
        the server may have taken it, and knows it by its id."""
        reached = self.reached() or self._handed.handed
        self._after, self._receipts_after = reached.events, reached.receipts
        self._pdus.clear()
        self._receipts.clear()
        self._typing, self._presence = {}, {}
        head = self._head
        if pause > KEEP_SECONDS or (head is not None and not head.pdus and not head.units.receipts):
            self._head = None

    async def _read_missed(self) -> None:
        """Reads what it missed. It lies behind no more once nothing is left in the tables."""
        handed = self._handed.handed
        self._fresh = deque()
        try:
            if self._after is not None:
                missed = await self._tables.list_missed(self.server, self._after, handed.events)
                fresh = self._fresh
                self._pdus.extend(missed.pdus)
                self._after = missed.upto
                if missed.upto >= handed.events:
                    self._pdus.extend(fresh)
                    self._after = fresh[-1].position if len(fresh) > MAX_WAITING else None
        finally:
            self._fresh = None
        if self._after is None and self._receipts_after is not None:
            await self._read_receipts(self._receipts_after)

    async def _read_receipts(self, after: int) -> None:
        # What comes from now on is newer than what is read.
        self._receipts_after = None
        try:
            receipts = await self._tables.list_receipts(self.server, after, self._handed.handed.receipts)
        except Unavailable:
            self._receipts_after = after
            self._receipts.clear()
            raise
        for receipt in receipts:
            self._receipts.setdefault((receipt.room_id, receipt.user_id, receipt.thread_id), receipt)
        self._receipts_due = self._handed.now()

    def _drop_all(self) -> None:
        self._after = self._receipts_after = self._head = None
        self._pdus.clear()
        self._receipts.clear()
        self._typing, self._presence = {}, {}
