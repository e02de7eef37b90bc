"""The member lists of rooms that were asked for lately: of a large room one is hundreds of kilobytes.

A list is as of a position. It holds as long as nothing was published since that changes who is a member, or what is
told of one; whether that is so, the tail knows.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.streams.keys import room_key
from homeserver.streams.publications import EventItem, Publication, StateItem
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail, Truncated
from homeserver.telemetry.metrics import MEMBER_LIST_BYTES

MAX_BYTES = 16 << 20
# More than any list that clients can still do something with.
MAX_LIST_BYTES = 4 << 20


class MemberList:
    """Member events as JSON, joined by commas. Their age is told as of when it is asked."""

    __slots__ = ("_times", "_words", "size")

    def __init__(self, words: Sequence[str], times: Sequence[int]) -> None:
        """`times`, in ms, stand between the words."""
        self._words = words
        self._times = times
        self.size = sum(map(len, words)) + 40 * len(times)

    def text(self, now_ms: int) -> str:
        parts = [self._words[0]]
        for time, word in zip(self._times, self._words[1:], strict=True):
            parts.append(str(now_ms - time) if now_ms > time else "0")
            parts.append(word)
        return "".join(parts)


@dataclass(slots=True)
class _Kept:
    number: int
    as_of: int
    members: MemberList


class MemberLists:
    """Lives on the loop."""

    def __init__(self, publisher: Publisher, tail: Tail) -> None:
        self._publisher = publisher
        self._tail = tail
        # By room id and memberships.
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], _Kept] = OrderedDict()
        self._bytes = 0
        MEMBER_LIST_BYTES.set_function(lambda: self._bytes)

    @property
    def now(self) -> int:
        """The position that a list has which is read from now on."""
        return self._publisher.current()

    @property
    def size(self) -> tuple[int, int]:
        """Lists and bytes."""
        return len(self._kept), self._bytes

    def find(self, room_id: str, memberships: tuple[str, ...]) -> MemberList | None:
        """The list, if it is the one of now."""
        key = (room_id, memberships)
        kept = self._kept.get(key)
        if kept is None:
            return None
        now = self.now
        try:
            changed = any(map(_changes_members, self._tail.since(room_key(kept.number), kept.as_of, now)))
        except Truncated:
            changed = True
        if changed:
            self._drop(key)
            return None
        kept.as_of = now
        self._kept.move_to_end(key)
        return kept.members

    def put(self, room_id: str, number: int, memberships: tuple[str, ...], as_of: int, members: MemberList) -> None:
        """Keeps a list that was read after `now` was `as_of`."""
        key = (room_id, memberships)
        self._drop(key)
        if members.size <= MAX_LIST_BYTES:
            self._kept[key] = _Kept(number, as_of, members)
            self._bytes += members.size
        while self._bytes > MAX_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[str, tuple[str, ...]]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.members.size


def _changes_members(publication: Publication) -> bool:
    item = publication.item
    if isinstance(item, EventItem):
        return item.type == "m.room.member" or item.redacted is not None
    return isinstance(item, StateItem)
