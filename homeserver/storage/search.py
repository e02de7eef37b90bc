"""The index of search: two GIN indexes, one of words (full text of PostgreSQL), one of numbers.

The words come from us, not from PostgreSQL's parser, which asks the locale of the database what a letter is: the same
text has the same words everywhere. The numbers of a row are the grams of its text and its *marks*: one for its room,
one for its sender, one each if it is no message or holds a file, and three for when it was: the blocks of 2^14, 2^18
and 2^22 positions in which its anchor lies. So "the newest matches", "in these rooms" and "of this sender" are answered
by the same walk through the index, however often the word stands elsewhere.

What a number stands for is hashed, so that a match is only likely, and what is found must be compared with the text.
Who may see what is found is asked elsewhere. https://www.postgresql.org/docs/current/gin.html
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

from homeserver.storage.history import RANK_END, Place
from homeserver.storage.transaction import Statement, Transaction

# The widths of the blocks, as powers of two. A window is one block, or, at the last level, everything.
BLOCKS = (14, 18, 22)
WIDEST = len(BLOCKS)
# No more rows than this are read of a window: of the narrowest, which has not so many but for what was back-filled
# before one event, and of the wider ones, which are for what is rare.
MOST_READ, MOST_READ_OF_WIDE = 20_000, 6_000
# Of one row's rank: so much is 1.
UNIT = 1_000_000
NOT_A_BODY = crc32(b"\0state") - 0x80000000
HAS_FILE = crc32(b"\0file") - 0x80000000

COLUMNS = "event, room, anchor, rank, key, edit, edit_anchor, words, grams"
INSERT = f"INSERT INTO search ({COLUMNS})"
UPDATE = (
    "ON CONFLICT (event) DO UPDATE SET anchor = EXCLUDED.anchor, rank = EXCLUDED.rank, key = EXCLUDED.key,"
    " edit = EXCLUDED.edit, edit_anchor = EXCLUDED.edit_anchor, words = EXCLUDED.words, grams = EXCLUDED.grams"
    # To write a row again that is as it should be would cost as much as a new one.
    " WHERE (search.anchor, search.rank, search.edit, search.words, search.grams) IS DISTINCT FROM"
    " (EXCLUDED.anchor, EXCLUDED.rank, EXCLUDED.edit, EXCLUDED.words, EXCLUDED.grams)"
)
REMOVE = Statement("remove_from_search", "bigint[]", "DELETE FROM search WHERE event = ANY($1)")
EDITED = Statement("list_found_by_edits", "bigint[]", "SELECT event FROM search WHERE edit = ANY($1)")
# Without figures about the table the planner may read all of it, for want of an idea how rare a number is.
BY_INDEX = "SET LOCAL enable_seqscan = off"
SIZE = "SELECT pg_stat_get_live_tuples('search'::regclass), pg_total_relation_size('search')"

# $1, $2: below this place; $3: keys; $4: rooms, sorted; $5: the anchor up to which each may be seen; $6: words that are
# ranked, or NULL; $7: words that begin with them; $8: how many rows; $9: numbers, all of them; $10: words, as a query;
# $11: numbers, one of them; $12: how many rows are read.
_TYPES = "bigint, int, int[], bigint[], bigint[], text, text, int, int[], text, int[], int"
_WINDOW = (
    "SELECT event, room, anchor, rank, edit, least(anchor, edit_anchor), CASE WHEN mine THEN"
    f" coalesce(((ts_rank(words, $6::tsquery, 1) + ts_rank(words, $7::tsquery, 1)) * {UNIT})::int, 0) END, mine, total"
    # Read once, and counted: how many there are elsewhere says how wide the next window may be.
    " FROM (SELECT *, count(*) OVER () AS total,"
    " coalesce(($4)[at] = room AND greatest(anchor, edit_anchor) <= ($5)[at], false) AS mine"
    " FROM (SELECT event, room, anchor, rank, edit, edit_anchor, words, width_bucket(room, $4) AS at FROM search"
    " WHERE %s AND (anchor, rank) < ($1, $2) AND key = ANY($3) LIMIT $12) m) n"
    " ORDER BY mine DESC, anchor DESC, rank DESC LIMIT $8"
)
_NUMBERS, _WORDS, _ONE_OF = "grams @> $9", "words @@ $10::tsquery", "grams && $11"
BY_NUMBERS = Statement("search_by_numbers", _TYPES, _WINDOW % _NUMBERS)
BY_NUMBERS_IN_ROOMS = Statement("search_by_numbers_in_rooms", _TYPES, _WINDOW % f"{_NUMBERS} AND {_ONE_OF}")
BY_WORDS = Statement("search_by_words", _TYPES, _WINDOW % _WORDS)
BY_WORDS_IN_ROOMS = Statement("search_by_words_in_rooms", _TYPES, _WINDOW % f"{_WORDS} AND {_ONE_OF}")
BY_BOTH = Statement("search_by_both", _TYPES, _WINDOW % f"{_NUMBERS} AND {_WORDS}")
BY_BOTH_IN_ROOMS = Statement("search_by_both_in_rooms", _TYPES, _WINDOW % f"{_NUMBERS} AND {_WORDS} AND {_ONE_OF}")
# By: are there numbers, are there words, are the rooms so few that their marks are asked for?
STATEMENTS = {
    (True, False, False): BY_NUMBERS,
    (True, False, True): BY_NUMBERS_IN_ROOMS,
    (False, True, False): BY_WORDS,
    (False, True, True): BY_WORDS_IN_ROOMS,
    (True, True, False): BY_BOTH,
    (True, True, True): BY_BOTH_IN_ROOMS,
}
# With more rooms it costs less to look at each match than at the marks of each room.
FEW_ROOMS = 16


@dataclass(frozen=True, slots=True)
class SearchRow:
    """What is to be found of an event. `edit`: (number, anchor) of the event that has the text, if not the event."""

    event: int
    room: int
    place: Place
    key: int
    sender: str
    has_file: bool
    edit: tuple[int, int] | None
    words: Collection[str]
    grams: Collection[int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the index. `words` and `grams`: all of them; `named`: by these words it ranks; `sender`: None
    for all; `rooms`: the anchor up to which each may be seen, by number."""

    words: Sequence[str]
    grams: Sequence[int]
    named: Sequence[str]
    keys: Sequence[int]
    sender: str | None
    only_files: bool
    rooms: dict[int, int]


class Match(NamedTuple):
    """A row that the index found; thousands of them are put in order. `since`: the anchor of the event, or of its edit
    if that is earlier."""

    event: int
    room: int
    anchor: int
    rank: int
    edit: int | None
    since: int
    score: int

    @property
    def place(self) -> Place:
        return Place(self.anchor, self.rank)


@dataclass(frozen=True, slots=True)
class Window:
    """The matches of a stretch of positions, newest first, and where it begins. `read`: how many matches were read, of
    all rooms; `is_cut`: there are more."""

    matches: list[Match]
    low: int
    read: int
    is_cut: bool


class Search:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, rows: Iterable[SearchRow]) -> None:
        """Makes events be found by what the rows say, and by nothing else."""
        self._transaction.defer_rows(
            INSERT, "(%s, %s, %s, %s, %s, %s, %s, %s::tsvector, %s::int[])", map(_values, rows), UPDATE
        )

    def remove(self, events: Collection[int]) -> None:
        """These events are not found any more."""
        if events:
            self._transaction.defer(REMOVE, list(events))

    def list_edited_by(self, edits: Collection[int]) -> list[int]:
        """The events that are found by the text of one of these edits."""
        return [row[0] for row in self._transaction.fetch(EDITED, list(edits))] if edits else []

    def read_window(self, wanted: Wanted, below: Place, level: int, most: int) -> Window:
        """The newest `most` matches in the block of `level` that holds the last place before `below`."""
        numbers = list(wanted.grams)
        low = 0
        if level < WIDEST:
            last = below.anchor if below.rank > -RANK_END else below.anchor - 1
            block = max(last, 0) >> BLOCKS[level]
            low = block << BLOCKS[level]
            numbers.append(_block_mark(level, block))
        if wanted.sender is not None:
            numbers.append(_mark("sender", wanted.sender))
        if 0 not in wanted.keys:
            numbers.append(NOT_A_BODY)
        if wanted.only_files:
            numbers.append(HAS_FILE)
        rooms = sorted(wanted.rooms)
        few = len(rooms) <= FEW_ROOMS
        most_read = MOST_READ if level == 0 else MOST_READ_OF_WIDE
        statement = STATEMENTS[bool(numbers), bool(wanted.words), few]
        self._transaction.defer_text(BY_INDEX)
        found = self._transaction.fetch(
            statement, below.anchor, below.rank, list(wanted.keys), rooms, [wanted.rooms[room] for room in rooms],
            " | ".join(f"'{word}'" for word in wanted.named) or None,
            " | ".join(f"'{word}':*" for word in wanted.named) or None, most, numbers,
            " & ".join(f"'{word}'" for word in wanted.words) or None,
            [_mark("room", room) for room in rooms] if few else [], most_read + 1,
        )  # fmt: skip
        read = found[0][8] if found else 0
        matches = [Match(*row[:7]) for row in found if row[7]]
        return Window(matches, low, read, read > most_read)

    def size(self) -> tuple[int, int]:
        """How many events can be found, roughly, and how many bytes the table and its indexes have."""
        events, size = self._transaction.text(SIZE)[0]
        return events, size


def _values(row: SearchRow) -> tuple[Any, ...]:
    anchor, rank = row.place.anchor, row.place.rank
    numbers = {*row.grams, _mark("room", row.room), _mark("sender", row.sender)}
    numbers.update(_block_mark(level, anchor >> shift) for level, shift in enumerate(BLOCKS))
    if row.key:
        numbers.add(NOT_A_BODY)
    if row.has_file:
        numbers.add(HAS_FILE)
    edit, edit_anchor = row.edit or (None, None)
    words = " ".join(f"'{word}'" for word in row.words)
    return row.event, row.room, anchor, rank, row.key, edit, edit_anchor, words, f"{{{','.join(map(str, numbers))}}}"


def _mark(kind: str, value: object) -> int:
    """A number that no gram has but by chance: no text holds U+0000."""
    return crc32(f"\0{kind} {value}".encode()) - 0x80000000


def _block_mark(level: int, block: int) -> int:
    return _mark(f"block{level}", block)
