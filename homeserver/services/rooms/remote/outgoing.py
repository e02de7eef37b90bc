"""What we tell other servers, read from the tables: events of our users, events that we relay, read receipts.

Events come in the order of their positions, each with the servers that it concerns: those with a joined user before or
after it, as of its position and not as of now, and those that hear of the end of an invite or a knock. So a server that
was kicked hears of it, and one that came later is not sent what was before. Not here: how they are sent
(`federation.outbound`). https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.domain.canonical import canonical_json
from homeserver.domain.identifiers import domain_of
from homeserver.domain.versions import ROOM_VERSIONS, EventIdFormat
from homeserver.services.persistence import Persistence
from homeserver.storage.events import parse_members
from homeserver.storage.outgoing import OutgoingPage, OutgoingRow, ServerChange
from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.room_servers import CAME, LEFT
from homeserver.storage.store import Store

# So many events that a server missed are read at once.
PAGE = 500
# Of what a server missed beyond this it is sent the newest event of each room: it asks for what is before that.
MOST_MISSED = 10_000
MOST_RECEIPTS = 1_000


@dataclass(frozen=True, slots=True)
class OutgoingPdu:
    """`text` is canonical JSON."""

    position: int
    event_id: str
    text: bytes


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event, and the servers that it concerns; this one is not among them."""

    pdu: OutgoingPdu
    servers: Sequence[str]


@dataclass(frozen=True, slots=True)
class OutgoingReceipt:
    """`room` is the room's internal number; `thread_id` None for an unthreaded receipt; `ts` in ms."""

    position: int
    room: int
    room_id: str
    user_id: str
    thread_id: str | None
    event_id: str
    ts: int


@dataclass(frozen=True, slots=True)
class Missed:
    """What a server missed, in order: everything that it needs up to the position `upto`."""

    pdus: list[OutgoingPdu]
    upto: int


class Outgoing:
    """`page`, `most_missed`: bounds of `list_missed`."""

    def __init__(
        self, database: Persistence, server_name: str, page: int = PAGE, most_missed: int = MOST_MISSED
    ) -> None:
        self._database = database
        self._server_name = server_name
        self._page = page
        self._most_missed = most_missed

    async def list_events(self, after: int, upto: int, limit: int) -> list[OutgoingEvent]:
        """The oldest `limit` with after < position <= upto."""

        def work(store: Store) -> list[OutgoingEvent]:
            page = store.outgoing.list_by_position(after, upto, self._server_name, limit)
            servers = servers_by_event(page)
            return [OutgoingEvent(_pdu(row), servers[row.position]) for row in page.events]

        return await self._database.read(work, single=True)

    async def list_missed(self, server: str, after: int, upto: int) -> Missed:
        """The first part of what concerns a server, with after < position <= upto."""

        def work(store: Store) -> Missed:
            tables, ours, last = store.outgoing, self._server_name, upto
            rows = tables.list_missed(server, after, upto, ours, self._page)
            if len(rows) == self._page:
                far = tables.find_far(server, after, upto, ours, self._most_missed)
                if far is None:
                    last = rows[-1].position
                else:
                    rows = tables.list_newest(server, after, far, ours, self._page)
                    last = far if len(rows) < self._page else rows[-1].position
            return Missed([_pdu(row) for row in rows], last)

        return await self._database.read_long(work)

    async def list_receipts(self, server: str | None, after: int, upto: int) -> list[OutgoingReceipt]:
        """Read receipts of our users, oldest first: those that concern a server, or any."""

        def work(store: Store) -> list[OutgoingReceipt]:
            rows = store.outgoing.list_receipts(server, after, upto, self._server_name, MOST_RECEIPTS)
            return [_receipt(row, room_id) for row, room_id in reversed(rows)]

        return await self._database.read_long(work)


def servers_by_event(page: OutgoingPage) -> dict[int, tuple[str, ...]]:
    """By the position of each event: the servers that it concerns."""
    by_room: dict[int, list[OutgoingRow]] = {}
    for row in page.events:
        by_room.setdefault(row.room, []).append(row)
    found: dict[int, tuple[str, ...]] = {}
    for room, rows in by_room.items():
        _add_servers(found, rows, page.servers.get(room, ()), page.changes.get(room, ()))
    return found


def _add_servers(
    found: dict[int, tuple[str, ...]],
    rows: Sequence[OutgoingRow],
    now: Sequence[str],
    changes: Sequence[ServerChange],
) -> None:
    """From the newest event of a room to the oldest, and so from the servers of now to those of then."""
    present = set(now)
    after = tuple(present)
    left = list(changes)
    for row in reversed(rows):
        while left and left[-1].position > row.position:
            change = left.pop()
            if change.change == CAME:
                present.discard(change.server)
            elif change.change == LEFT:
                present.add(change.server)
            after = ()
        if len(after) != len(present):
            after = tuple(present)
        here = {one.server for one in left if one.position == row.position and one.change != CAME}
        sender = domain_of(row.sender)
        if here or sender in present:
            found[row.position] = tuple((present | here) - {sender})
        else:
            found[row.position] = after


def _pdu(row: OutgoingRow) -> OutgoingPdu:
    """The PDU as it was signed: canonical, and with the members that stand in columns."""
    version = ROOM_VERSIONS[row.version]
    pdu = parse_members(f"{row.client},{row.wire}" if row.wire else row.client)
    if version.event_ids is EventIdFormat.CHOSEN:
        pdu["event_id"] = row.event_id
    if not version.room_id_is_create_hash or row.type != "m.room.create":
        pdu["room_id"] = row.room_id
    # Signatures of requests cover every digit: numbers of old rooms are written as everybody writes them.
    return OutgoingPdu(row.position, row.event_id, canonical_json(pdu, checked=version.strict_canonical_json))


def _receipt(row: ReceiptRow, room_id: str) -> OutgoingReceipt:
    return OutgoingReceipt(row.position, row.room, room_id, row.user_id, row.thread_id or None, row.event_id, row.ts)
