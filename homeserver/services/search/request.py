"""What a client asks of search, and the token with which it asks for more.

A token says where the page before ended in the history, `(anchor, rank)`, and, for results that are ordered by their
rank, of which matches these were the best. It is of no use to somebody else: what may be seen is asked again each time.
https://spec.matrix.org/v1.19/client-server-api/#pagination-1
"""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from homeserver.domain.errors import BadRequest
from homeserver.domain.filters import EventFilter
from homeserver.domain.search_text import Key
from homeserver.storage.history import RANK_END, Place

GROUPINGS = ("room_id", "sender")
MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """How many events around each result, and whether to tell who their senders were at the time."""

    before: int = 5
    after: int = 5
    include_profile: bool = False


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """`room_events` of a request. `groupings`: some of GROUPINGS."""

    term: str
    keys: Collection[Key] = tuple(Key)
    filter: EventFilter = field(default_factory=EventFilter)
    by_rank: bool = True
    context: ContextRequest | None = None
    include_state: bool = False
    groupings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a page ended: at `last`, among the matches below `top`, of which `score` was the last one's.

    `count`: how many results there were in all, as the first page told. `group`: only results of this group.
    """

    by_rank: bool
    top: Place
    score: int
    last: Place
    count: int
    group: tuple[str, str] | None = None

    def __str__(self) -> str:
        numbers = (self.top.anchor, self.top.rank, self.score, self.last.anchor, self.last.rank, self.count)
        parts = ["r" if self.by_rank else "t", *map(str, numbers)]
        if self.group is not None:
            parts += [self.group[0], urlsafe_b64encode(self.group[1].encode()).decode().rstrip("=")]
        return ".".join(parts)


def parse_continuation(text: str) -> Continuation:
    """Raises BadRequest if we cannot have made it."""
    order, *parts = text.split(".")
    numbers = [_number(part) for part in parts[:6]]
    if order not in ("r", "t") or len(parts) not in (6, 8):
        raise BadRequest("Not a token of this server")
    group = _group(parts[6], parts[7]) if len(parts) == 8 else None
    top_anchor, top_rank, score, anchor, rank, count = numbers
    if abs(top_rank) > RANK_END or abs(rank) > RANK_END or abs(score) > RANK_END or min(top_anchor, anchor, count) < 0:
        raise BadRequest("Not a token of this server")
    return Continuation(order == "r", Place(top_anchor, top_rank), score, Place(anchor, rank), count, group)


def within_group(filter: EventFilter, group: tuple[str, str] | None) -> EventFilter:
    """The filter, and only what is in the group."""
    if group is None:
        return filter
    kind, value = group
    if kind == "room_id":
        return replace(filter, rooms=frozenset({value}) & (filter.rooms or {value}))
    return replace(filter, senders=frozenset({value}) & (filter.senders or {value}))


def _group(kind: str, encoded: str) -> tuple[str, str]:
    try:
        value = b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise BadRequest("Not a token of this server") from error
    if kind not in GROUPINGS:
        raise BadRequest("Not a token of this server")
    return kind, value


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
        raise BadRequest("Not a token of this server")
    return int(text)
