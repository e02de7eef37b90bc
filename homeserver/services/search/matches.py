"""What the index finds for somebody: in which rooms they may search, and the newest matches there.

The index is read in windows, from the newest positions backwards: first a narrow one, then wider ones as long as there
is little in them. So a rare word costs a handful of short reads, and of a common one no more is read than is used.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.domain.filters import EventFilter
from homeserver.domain.search_query import Query
from homeserver.domain.search_text import TYPES, Key
from homeserver.storage.history import RANK_END, Place
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.search import MOST_READ_OF_WIDE, WIDEST, Match, Search, Wanted
from homeserver.storage.store import Store

END = 2**62
# Of a commoner word, so many of the newest matches are counted and ranked.
MOST_MATCHES = 5_000
# Matches that are read in all rooms together, the reader's or not, before a search gives up looking further back.
MOST_LOOKED_AT = 60_000
MOST_WINDOWS = 64
# The next window may be 16 times as wide if this one had so few.
SPARSE = MOST_READ_OF_WIDE // 16


@dataclass(frozen=True, slots=True)
class Found:
    """The newest matches, newest first; `more`: there may be older ones, below `bottom`."""

    matches: list[Match]
    bottom: Place
    more: bool


def rooms_of(store: Store, user_id: str, filter: EventFilter) -> dict[int, MembershipRow]:
    """The rooms that a user is in, or has left and not forgotten, and wants to search."""
    rooms = {
        row.room: row for row in store.memberships.list_of_user(user_id) if row.membership in ("join", "leave", "ban")
    }
    if any(row.membership != "join" for row in rooms.values()):
        for number in store.memberships.list_forgotten(user_id):
            if number in rooms and rooms[number].membership != "join":
                del rooms[number]
    if filter.rooms is not None:
        wanted = set(store.rooms.list_numbers(list(filter.rooms)).values())
        rooms = {number: row for number, row in rooms.items() if number in wanted}
    if filter.not_rooms is not None:
        unwanted = set(store.rooms.list_numbers(list(filter.not_rooms)).values())
        rooms = {number: row for number, row in rooms.items() if number not in unwanted}
    return rooms


def wanted_of(query: Query, keys: Iterable[Key], filter: EventFilter, rooms: dict[int, MembershipRow]) -> Wanted | None:
    """What to ask of the index; None if it can find nothing."""
    types = {name for name in TYPES if filter.types is None or name in filter.types}
    types -= {name for name in TYPES if filter.not_types is not None and name in filter.not_types}
    asked = set(keys) & {TYPES[name] for name in types}
    if query.is_empty or not rooms or not asked or filter.senders == frozenset():
        return None
    return Wanted(
        words=query.words,
        grams=query.grams,
        named=query.named,
        keys=sorted(asked),
        sender=next(iter(filter.senders)) if filter.senders is not None and len(filter.senders) == 1 else None,
        only_files=filter.contains_url is True,
        rooms={number: END if row.membership == "join" else row.position for number, row in rooms.items()},
    )


def find_newest(search: Search, wanted: Wanted, top: Place, most: int) -> Found:
    """The newest `most` matches below `top`."""
    matches: list[Match] = []
    level, below, looked_at = 0, top, 0
    # By level: down to where its windows are known to hold too much.
    crowded: dict[int, int] = {}
    for _ in range(MOST_WINDOWS):
        window = search.read_window(wanted, below, level, most + 1 - len(matches))
        looked_at += window.read
        if window.is_cut and level > 0:
            crowded[level] = window.low
            level -= 1
        else:
            matches += window.matches
            if len(matches) > most or window.is_cut:
                matches = matches[:most]
                return Found(matches, matches[-1].place if matches else below, True)
            if window.low == 0:
                return Found(matches, Place(0, -RANK_END), False)
            below = Place(window.low, -RANK_END)
            if window.read <= SPARSE:
                level = min(level + 1, WIDEST)
            while below.anchor > crowded.get(level, END):
                level -= 1
        if looked_at >= MOST_LOOKED_AT:
            break
    return Found(matches, below, True)
