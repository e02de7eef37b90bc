"""What our users type and read, for the other servers in the room.

Typing is told when it begins and ends, and again from time to time as long as it lasts, since other servers forget it.
Receipts are told once each; those that were set before this process began, and that nobody took, come from the tables.
m.read.private is told to nobody. https://spec.matrix.org/v1.19/server-server-api/#edus
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeserver.domain.errors import Unavailable
from homeserver.services.rooms.remote.outgoing import OutgoingReceipt
from homeserver.streams.notifier import Watcher
from homeserver.streams.publications import Publication, ReceiptItem, TypingItem

logger = logging.getLogger(__name__)

# Other servers believe for 30 s that somebody types.
TYPING_AGAIN_SECONDS = 20.0
RETRY_SECONDS = 1.0
# If so many wait to be told, typing is not told.
MAX_WAITING = 10_000
READ = "m.read"


class Publications(Protocol):
    """`homeserver.streams.publisher.Publisher` is one."""

    def current(self) -> int: ...
    def listen(self, listener: Callable[[Publication], None]) -> None: ...


class RoomServers(Protocol):
    async def load(self) -> None: ...
    def is_shared(self, room: int) -> bool: ...
    def is_ours(self, user_id: str) -> bool: ...
    async def find(self, rooms: Collection[int]) -> dict[int, Sequence[str]]: ...


class KeptReceipts(Protocol):
    async def list_receipts(self, server: str | None, after: int, upto: int) -> list[OutgoingReceipt]: ...


class Sink(Protocol):
    """Where they go. What is given is in the order in which it happened."""

    def add_receipt(self, servers: Sequence[str], receipt: OutgoingReceipt) -> None: ...
    def set_typing(self, servers: Sequence[str], room_id: str, user_id: str, typing: bool) -> None: ...

    def heard(self, position: int) -> None:
        """Every receipt up to this position was given."""


@dataclass(frozen=True, slots=True)
class _Typing:
    room: int
    room_id: str
    user_id: str
    typing: bool


class OutgoingEdus:
    """Lives on the loop."""

    def __init__(
        self, publications: Publications, servers: RoomServers, kept: KeptReceipts, again: float = TYPING_AGAIN_SECONDS
    ) -> None:
        self._publications = publications
        self._servers = servers
        self._kept = kept
        self._again = again
        self._begun = self._stopping = False
        self._news, self._end = Watcher(), Watcher()
        # What happened and has not been given yet, in order.
        self._waiting: list[OutgoingReceipt | _Typing] = []
        # Who of us types: by room its id and the users.
        self._typing: dict[int, tuple[str, frozenset[str]]] = {}
        publications.listen(self._heard)

    async def run(self, after: int | None, sink: Sink) -> None:
        """Gives everything to `sink`, receipts from a position on, or from now on; until `stop`. Raises Unavailable if
        it cannot begin."""
        await self._servers.load()
        upto = self._publications.current()
        self._begun = True
        if after is not None:
            self._waiting[:0] = await self._kept.list_receipts(None, after, upto)
        else:
            sink.heard(upto)
        loop = asyncio.get_running_loop()
        again = loop.time() + self._again
        while not self._stopping:
            self._news.stirred = False
            if loop.time() >= again:
                again = loop.time() + self._again
                self._type_again()
            if not self._waiting:
                await self._news.wait(again - loop.time())
            elif not await self._give(sink):
                await self._end.wait(RETRY_SECONDS)

    def stop(self) -> None:
        """`run` returns."""
        self._stopping = True
        self._news.wake()
        self._end.wake()

    async def _give(self, sink: Sink) -> bool:
        """Gives what waits. False if it cannot be known now to whom."""
        waiting = list(self._waiting)
        try:
            servers = await self._servers.find({one.room for one in waiting})
        except Unavailable as error:
            logger.warning("what our users type and read is not told yet: %s", error)
            return False
        del self._waiting[: len(waiting)]
        for one in waiting:
            if isinstance(one, _Typing):
                sink.set_typing(servers[one.room], one.room_id, one.user_id, one.typing)
            else:
                sink.add_receipt(servers[one.room], one)
                sink.heard(one.position)
        return True

    def _type_again(self) -> None:
        for room, (room_id, users) in self._typing.items():
            self._waiting += [_Typing(room, room_id, user_id, True) for user_id in sorted(users)]

    def _heard(self, publication: Publication) -> None:
        item = publication.item
        if not self._begun:
            return
        if isinstance(item, TypingItem):
            if self._servers.is_shared(item.room):
                self._note_typing(item)
        elif isinstance(item, ReceiptItem) and self._must_be_told(item):
            place = (publication.position, item.room, item.room_id)
            self._waiting.append(OutgoingReceipt(*place, item.user_id, item.thread_id, item.event_id, item.ts))
            self._news.wake()

    def _must_be_told(self, item: ReceiptItem) -> bool:
        is_public = item.receipt_type == READ
        return is_public and self._servers.is_shared(item.room) and self._servers.is_ours(item.user_id)

    def _note_typing(self, item: TypingItem) -> None:
        """The item tells who types; other servers are told who began and who ended."""
        _, before = self._typing.get(item.room, ("", frozenset()))
        now = frozenset(user_id for user_id in item.user_ids if self._servers.is_ours(user_id))
        if now:
            self._typing[item.room] = (item.room_id, now)
        else:
            self._typing.pop(item.room, None)
        if now != before and len(self._waiting) < MAX_WAITING:
            changed = sorted(now ^ before)
            self._waiting += [_Typing(item.room, item.room_id, user_id, user_id in now) for user_id in changed]
            self._news.wake()
