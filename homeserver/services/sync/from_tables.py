"""Answers from the tables, made of many short reads, each as of the same position.

How many rooms are read at once follows from how much there is to tell of them, so that no read is long. A first sync
may be taken in parts as it is read: then the memory that it needs does not grow with the number of rooms.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from homeserver.services.persistence import Persistence
from homeserver.services.sync.answer import END, RoomAnswer, SyncAnswer, opening, room_members, stripped_members
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.tables import Outline, Tables, empty_answer

# Rooms, and events of all their timelines and states, that are read at once; of one room, all of them.
ROOMS_PER_READ = 50
EVENTS_PER_READ = 3_000
# In characters. After a part that is larger, less is read at once.
LARGE_PART = 4 << 20
# What there is of state beside members, mostly.
USUAL_STATE = 15

# The answer's beginning, and how it goes on if there is more.
Begun = tuple[bytes, AsyncGenerator[bytes, None] | None]


@dataclass(frozen=True, slots=True)
class _Range:
    """What is asked: everything after a position (None: at all) and up to another."""

    request: SyncRequest
    after: int | None
    upto: int
    outline: Outline


class FromTables:
    """Lives on the loop. `epoch`: of the tokens that it gives."""

    def __init__(self, database: Persistence, tables: Tables, present: PresenceSection, epoch: str) -> None:
        self._database = database
        self._tables = tables
        self._present = present
        self._epoch = epoch

    async def __call__(self, request: SyncRequest, after: int | None, upto: int) -> SyncAnswer:
        """`after` is None for a first sync."""
        wanted, answer = await self._outline(request, after, upto)
        batches = _Batches(wanted)
        while batches:
            joined, left = await self._rooms(wanted, batches.next())
            answer.joined.update(joined)
            answer.left.update(left)
        await self._invites(wanted, answer)
        return answer

    async def begin(self, request: SyncRequest, after: int | None, upto: int, state_key: str) -> Begun:
        """The JSON of the same answer. `state_key`: under which name the state goes. What is left is read as it is
        taken: whoever begins with it must take it to its end, or close it."""
        wanted, answer = await self._outline(request, after, upto)
        batches, sections = _Batches(wanted), _Sections(state_key)
        first = opening(answer) + await self._part(wanted, batches, sections)
        if not batches:
            return (first + await self._end(wanted, answer, sections)).encode(), None
        return first.encode(), self._rest(wanted, answer, batches, sections)

    async def _rest(
        self, wanted: _Range, answer: SyncAnswer, batches: "_Batches", sections: "_Sections"
    ) -> AsyncGenerator[bytes, None]:
        while batches:
            yield (await self._part(wanted, batches, sections)).encode()
        yield (await self._end(wanted, answer, sections)).encode()

    async def _part(self, wanted: _Range, batches: "_Batches", sections: "_Sections") -> str:
        """Of the next rooms, if there are any."""
        if not batches:
            return ""
        joined, left = await self._rooms(wanted, batches.next())
        part = sections.add_rooms("join", joined) + sections.add_rooms("leave", left)
        batches.weigh(part)
        return part

    async def _end(self, wanted: _Range, answer: SyncAnswer, sections: "_Sections") -> str:
        await self._invites(wanted, answer)
        invited = sections.add("invite", stripped_members(answer.invited, "invite_state"))
        knocked = sections.add("knock", stripped_members(answer.knocked, "knock_state"))
        return f"{invited}{knocked}{sections.end()},{END}"

    async def _outline(self, request: SyncRequest, after: int | None, upto: int) -> tuple[_Range, SyncAnswer]:
        outline = await self._database.read(lambda store: self._tables.outline(store, request, after, upto))
        wanted = _Range(request, after, upto, outline)
        answer = empty_answer(request, self._epoch, upto)
        answer.account_data = outline.account_data
        answer.presence = self._people(wanted)
        return wanted, answer

    async def _rooms(
        self, wanted: _Range, numbers: Sequence[int]
    ) -> tuple[dict[str, RoomAnswer], dict[str, RoomAnswer]]:
        """(joined, left)."""
        read = self._database.read if len(numbers) <= 3 else self._database.read_long
        return await read(
            lambda store: self._tables.rooms(store, wanted.request, wanted.outline, numbers, wanted.after, wanted.upto)
        )

    async def _invites(self, wanted: _Range, answer: SyncAnswer) -> None:
        standing = wanted.outline.standing
        if standing.invited or standing.knocked:
            await self._database.read(lambda store: self._tables.invites(store, wanted.request, wanted.outline, answer))

    def _people(self, wanted: _Range) -> list[str]:
        """Who is online, as from the tables."""
        request, outline = wanted.request, wanted.outline
        rooms = outline.standing.joined.keys()
        if wanted.after is None or request.full_state:
            return self._present.whole(request, rooms, outline.ignored, wanted.upto)
        # Of those in a new room, or who were ignored until now, the client may hold what is no longer true.
        anew = rooms if outline.new_wishes else outline.standing.newly_joined & rooms
        return self._present.changed(request, rooms, outline.ignored, wanted.after, wanted.upto, anew)


class _Sections:
    """The members of an answer's `rooms`, opened and closed as they come: all joined rooms, then all left ones ..."""

    def __init__(self, state_key: str) -> None:
        self._state_key = state_key
        self._open: str | None = None

    def add_rooms(self, section: str, rooms: dict[str, RoomAnswer]) -> str:
        return self.add(section, room_members(rooms, self._state_key, joined=section == "join"))

    def add(self, section: str, members: str) -> str:
        """`members`: of the section's object, as JSON without braces."""
        if not members:
            return ""
        if section == self._open:
            return "," + members
        before = ',"rooms":{' if self._open is None else "},"
        self._open = section
        return f'{before}"{section}":{{{members}'

    def end(self) -> str:
        return "" if self._open is None else "}}"


class _Batches:
    """The numbers of the rooms that are read at once; joined ones come first."""

    def __init__(self, wanted: _Range) -> None:
        self._wanted = wanted
        told, joined = wanted.outline.told, wanted.outline.standing.joined
        self._left = deque(sorted(told, key=lambda n: n not in joined))
        self._most = EVENTS_PER_READ
        self._weight_of_last = 0

    def next(self) -> list[int]:
        """Empty at the end."""
        batch: list[int] = []
        weight = 0
        while self._left and len(batch) < ROOMS_PER_READ:
            more = self._weight(self._left[0])
            if batch and weight + more > self._most:
                break
            batch.append(self._left.popleft())
            weight += more
        self._weight_of_last = weight
        return batch

    def weigh(self, part: str) -> None:
        """Fewer are read from now on if these were much to tell."""
        if len(part) > LARGE_PART:
            self._most = self._weight_of_last * LARGE_PART // len(part)

    def __bool__(self) -> bool:
        return bool(self._left)

    def _weight(self, n: int) -> int:
        """How many events are told of a room, roughly."""
        outline, request = self._wanted.outline, self._wanted.request
        events = request.filter.room.timeline.limit
        if self._wanted.after is None or request.full_state or n in outline.standing.newly_joined:
            row = outline.rooms[n].row
            events += USUAL_STATE + (0 if request.lazy_members else row.joined + row.invited)
        return events
