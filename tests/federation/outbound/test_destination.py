"""One destination, with time in the test's hands: when receipts go, and what is kept for it."""

from collections.abc import Sequence

import pytest

from federation.outbound.destination import RECEIPT_SECONDS, Destination
from federation.outbound.packing import Transaction, Units, pack
from federation.outbound.post import Outcome
from homeserver.domain.errors import Unavailable
from homeserver.services.rooms.remote.outgoing import Missed, OutgoingPdu, OutgoingReceipt
from homeserver.services.rooms.remote.progress import Reached

NAME = "other.test"


class Desk:
    """Implements `Courier`, `Tables` and `Handed`. `outcomes` are those of the next transactions, then TAKEN."""

    def __init__(self) -> None:
        self.sent: list[Transaction] = []
        self.outcomes: list[Outcome] = []
        self.handed = Reached(1000, 1000)
        self.seconds = 100.0
        self.table: list[OutgoingPdu] = []
        self.receipts: list[OutgoingReceipt] = []
        self.broken = False

    def allows(self, server: str) -> bool:
        return True

    async def wait_seconds(self, server: str) -> float:
        return 0.0

    def pack(self, pdus: Sequence[OutgoingPdu], units: Units) -> Transaction:
        return pack(f"t{len(self.sent)}", "home.test", 1, pdus, units)

    async def send(self, server: str, transaction: Transaction) -> Outcome:
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.TAKEN
        self.sent.append(transaction)
        return outcome

    async def list_missed(self, server: str, after: int, upto: int) -> Missed:
        if self.broken:
            raise Unavailable("the database is away")
        return Missed([pdu for pdu in self.table if after < pdu.position <= upto], upto)

    async def list_receipts(self, server: str | None, after: int, upto: int) -> list[OutgoingReceipt]:
        return [receipt for receipt in self.receipts if after < receipt.position <= upto]

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def destination(desk: Desk) -> Destination:
    return Destination(NAME, desk, desk, desk)


def pdu(position: int) -> OutgoingPdu:
    return OutgoingPdu(position, f"${position}", b"{}")


def receipt(position: int, user_id: str = "@a:home.test", thread_id: str | None = None) -> OutgoingReceipt:
    return OutgoingReceipt(position, 1, "!r:home.test", user_id, thread_id, f"${position}", 1)


def told(desk: Desk) -> list[list[int]]:
    return [[one.position for one in transaction.units.receipts] for transaction in desk.sent]


async def test_receipts_alone_go_at_most_every_few_seconds(desk: Desk, destination: Destination) -> None:
    """The first at once, then the latest of each user together."""
    assert destination.add_receipt(receipt(1), 0.0)
    assert await destination.work() is None
    destination.add_receipt(receipt(2), 0.0)
    destination.add_receipt(receipt(3, "@b:home.test"), 0.0)
    assert await destination.work() == RECEIPT_SECONDS
    destination.add_receipt(receipt(4), 0.0)
    desk.seconds += RECEIPT_SECONDS
    assert await destination.work() is None
    assert told(desk) == [[1], [3, 4]]


async def test_receipts_of_large_rooms_wait(desk: Desk, destination: Destination) -> None:
    """As long as they may, or until something else is sent."""
    destination.add_receipt(receipt(1), 20.0)
    assert await destination.work() == 20.0
    destination.add(pdu(2))
    assert await destination.work() is None
    assert told(desk) == [[1]]


async def test_what_it_has_is_what_it_took(desk: Desk, destination: Destination) -> None:
    """While something waits or is under way, it has only what is before that."""
    assert destination.reached() is None
    destination.add(pdu(1001))
    destination.add(pdu(1003))
    assert destination.reached() == Reached(1000, 1000)
    destination.add_receipt(receipt(7), 0.0)
    assert destination.reached() == Reached(1000, 6)
    desk.outcomes = [Outcome.AWAY]
    assert await destination.work() == 5.0
    assert destination.is_behind and destination.reached() == Reached(1000, 6)
    desk.seconds += 5.0
    desk.table, desk.receipts, desk.handed = [pdu(1001), pdu(1003)], [receipt(7)], Reached(1003, 1000)
    assert await destination.work() is None
    assert destination.is_idle and destination.reached() is None
    assert desk.sent[0].txn_id == desk.sent[1].txn_id


async def test_pauses_grow_and_are_kept(desk: Desk, destination: Destination) -> None:
    """Whatever wakes it meanwhile, unless the server shows itself; after long ones nothing is left in memory."""
    desk.outcomes = [Outcome.AWAY] * 6
    desk.table, desk.handed = [pdu(1001)], Reached(1001, 1000)
    destination.add(pdu(1001))
    pauses: list[float | None] = []
    for _ in range(5):
        pauses.append(await destination.work())
        assert await destination.work() == pauses[-1]
        desk.seconds += pauses[-1] or 0.0
    assert pauses == [5.0, 10.0, 20.0, 40.0, 80.0]
    assert destination.waiting == 0 and not destination.add(pdu(1002))
    assert await destination.work() == 160.0
    destination.hurry()
    assert await destination.work() is None
    assert destination.is_idle


async def test_a_database_that_is_away_is_waited_for(desk: Desk) -> None:
    destination = Destination(NAME, desk, desk, desk, Reached(5, 5))
    desk.table, desk.broken = [pdu(7)], True
    assert await destination.work() == 5.0
    assert destination.reached() == Reached(5, 5)
    desk.broken = False
    assert await destination.work() is None
    assert [one.position for transaction in desk.sent for one in transaction.pdus] == [7]


async def test_a_server_that_refuses_everything_is_asked_less_and_less(desk: Desk, destination: Destination) -> None:
    """Its events are set aside one by one, with pauses that grow."""
    desk.outcomes = [Outcome.REFUSED] * 200
    for position in range(1001, 1051):
        destination.add(pdu(position))
    pause = await destination.work()
    assert pause == 5.0 and len(desk.sent) == 9
    desk.seconds += pause
    assert await destination.work() == 10.0
