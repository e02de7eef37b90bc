"""Which of the matches of the index are shown: those whose text matches indeed, and that the reader may see.

The index knows who is in which room, and no more. Whether an event may be seen is asked of `services.access`, for the
event and for the edit whose text was found: somebody who left before the edit must not find it by what it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeserver.domain.errors import Forbidden
from homeserver.domain.filters import EventFilter
from homeserver.domain.search_query import Query
from homeserver.domain.search_text import normal
from homeserver.services.access import ReadableRoom, readable_room, visible_events
from homeserver.services.search.index import text_of
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.rooms import RoomRow
from homeserver.storage.search import Match
from homeserver.storage.store import Store

# A page looks at so many matches, and at so many characters of their texts; then it ends, and another goes on.
MOST_LOOKED_AT = 2_000
MOST_CHARACTERS = 1_000_000
# Of those matches that the reader may not be allowed to see. What comes after them is left out without a word: nobody
# must learn from where a page ends how often a word stands where they may not look.
MOST_DOUBTFUL = 1_000


@dataclass(frozen=True, slots=True)
class Hit:
    """A result. `text` as it stands in the event; `membership`: the reader's at the event."""

    match: Match
    row: EventRow
    room: ReadableRoom
    membership: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """`last`: the last match that was looked at, if the page ended before the matches did."""

    hits: list[Hit]
    last: Match | None


class Reader:
    """Somebody who searches, within one transaction. `rooms`: where; `ignored`: whose messages they do not want."""

    def __init__(self, store: Store, user_id: str, rooms: Mapping[int, MembershipRow], ignored: frozenset[str]) -> None:
        self._store = store
        self._user_id = user_id
        self._memberships = rooms
        self._ignored = ignored - {user_id}
        self._rows: dict[int, RoomRow] = {}
        self._rooms: dict[int, ReadableRoom | None] = {}

    def prepare(self, matches: Sequence[Match]) -> None:
        """Loads the rooms of these matches."""
        unknown = {match.room for match in matches} - self._rows.keys()
        self._rows.update({row.number: row for row in self._store.rooms.list_by_numbers(list(unknown))})

    def is_sure(self, match: Match) -> bool:
        """Whether the reader may see this match for certain, from what is at hand: they came before it and are still
        there, or the room never kept its history from those who joined."""
        membership = self._memberships[match.room]
        return membership.membership == "join" and (
            self._rows[match.room].open_history or match.since > membership.position
        )

    def page(self, query: Query, filter: EventFilter, matches: Sequence[Match], limit: int) -> Page:
        """The first `limit` results among the matches."""
        hits: list[Hit] = []
        size = max(limit + 1, 20)
        doubtful = looked_at = characters = 0
        for end in range(size, len(matches) + size, size):
            chunk: list[Match] = []
            for match in matches[end - size : end]:
                sure = self.is_sure(match)
                doubtful += not sure
                if sure or doubtful <= MOST_DOUBTFUL:
                    chunk.append(match)
            looked_at += len(chunk)
            for hit in self._visible(chunk, filter):
                characters += len(hit.text)
                if query.matches(normal(hit.text)):
                    hits.append(hit)
            if len(hits) > limit:
                return Page(hits[:limit], hits[limit - 1].match)
            if end < len(matches) and (looked_at >= MOST_LOOKED_AT or characters >= MOST_CHARACTERS):
                return Page(hits, matches[end - 1])
        return Page(hits, None)

    def _visible(self, matches: Sequence[Match], filter: EventFilter) -> list[Hit]:
        """Those that the reader may and wants to see, with the texts by which they were found."""
        numbers = {match.event for match in matches} | {match.edit for match in matches if match.edit is not None}
        rows = self._store.events.list_by_numbers(numbers)
        by_room: dict[int, list[EventRow]] = {}
        for match in matches:
            both = [row for number in (match.event, match.edit) if (row := rows.get(number or 0)) is not None]
            by_room.setdefault(match.room, []).extend(both)
        seen: dict[int, str | None] = {}
        for number, candidates in by_room.items():
            room = self._room(number)
            if room is not None:
                for row, membership in visible_events(self._store, room, self._user_id, candidates):
                    seen[row.number] = membership
        hits: list[Hit] = []
        for match in matches:
            room = self._room(match.room)
            if room is None or match.event not in seen or (match.edit is not None and match.edit not in seen):
                continue
            row = rows[match.event]
            content = parse_members(row.client)["content"]
            is_ignored = row.state_key is None and row.sender in self._ignored
            if not is_ignored and filter.matches(row.type, row.sender, room.row.room_id, content):
                text = text_of(row, content, None if match.edit is None else rows[match.edit])
                if text is not None:
                    hits.append(Hit(match, row, room, seen[row.number], text))
        return hits

    def _room(self, number: int) -> ReadableRoom | None:
        if number not in self._rooms:
            row, membership = self._rows[number], self._memberships[number]
            room: ReadableRoom | None
            if membership.membership == "join":
                room = ReadableRoom(row, membership, None)
            else:
                try:
                    room = readable_room(self._store, self._user_id, row.room_id)
                except Forbidden:
                    room = None
            self._rooms[number] = room
        return self._rooms[number]
