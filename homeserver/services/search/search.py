"""Searching the messages, names and topics of the rooms that somebody is in, or was in.

What comes back is looked up in an index that follows the events by about a second (`index`, `rebuild`), compared with
their texts, and shown to those who may see it (`page`). What is found is decided by `homeserver.domain.search_query`.

NOTSPEC: `io.parley.newest_matches` in an answer says that there are more matches than were counted and ranked: only so
many, the newest ones. Without it, `count` and the order are those of all matches. Pages lead on to the others.
https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from homeserver.domain.filters import EventFilter
from homeserver.domain.search_query import Query, highlights, parse_query
from homeserver.ports import Clock
from homeserver.services.persistence import Persistence
from homeserver.services.search.answer import Answer, group_of
from homeserver.services.search.matches import MOST_MATCHES, Found, find_newest, rooms_of, wanted_of
from homeserver.services.search.page import Page, Reader
from homeserver.services.search.request import Continuation, SearchRequest, parse_continuation, within_group
from homeserver.services.viewer import ignored_users
from homeserver.storage.history import RANK_END, Place
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.search import Match
from homeserver.storage.store import Store

NOTHING = b'{"search_categories":{"room_events":{"count":0,"highlights":[],"results":[]}}}'


class Watermark(Protocol):
    """`homeserver.streams.publisher.Publisher` is one."""

    def current(self) -> int: ...


class Search:
    def __init__(self, database: Persistence, watermark: Watermark, clock: Clock) -> None:
        self._database = database
        self._watermark = watermark
        self._clock = clock

    async def find(self, user_id: str, device_id: str, request: SearchRequest, token: str | None) -> bytes:
        """The JSON of the answer, or of the next page of one. Raises BadRequest."""
        query = parse_query(request.term)
        top = Place(self._watermark.current() + 1, -RANK_END)
        asked = _Asked(query, request.filter, None)
        if token is not None:
            came_from = parse_continuation(token)
            # A token of the other order leads on in its own: both are places in the same list.
            request = replace(request, by_rank=came_from.by_rank)
            asked = _Asked(query, within_group(request.filter, came_from.group), came_from)
            top = came_from.top

        def work(store: Store) -> bytes:
            rooms = rooms_of(store, user_id, asked.filter)
            wanted = wanted_of(query, request.keys, asked.filter, rooms)
            if wanted is None:
                return NOTHING
            found = find_newest(store.search, wanted, top, MOST_MATCHES)
            return self._answer(store, user_id, device_id, request, asked, rooms, found, top)

        return await self._database.read_long(work)

    def _answer(
        self,
        store: Store,
        user_id: str,
        device_id: str,
        request: SearchRequest,
        asked: "_Asked",
        rooms: Mapping[int, MembershipRow],
        found: Found,
        top: Place,
    ) -> bytes:
        ignored = ignored_users(store.account_data.find(user_id, 0, "m.ignored_user_list"))
        reader = Reader(store, user_id, rooms, ignored)
        reader.prepare(found.matches)
        sure = sum(reader.is_sure(match) for match in found.matches)
        matches = _in_order(found.matches, asked.came_from, by_rank=request.by_rank)
        page = reader.page(asked.query, asked.filter, matches, asked.filter.limit)
        doubtful = sum(not reader.is_sure(hit.match) for hit in page.hits)
        count = sure + doubtful if asked.came_from is None else asked.came_from.count
        # Without a result, another page is worth asking for only if something was passed over that may be seen.
        more = _continuation(request, found, page, top, count) if page.hits or sure else None
        answer = Answer(store, user_id, device_id, self._clock.now_ms(), ignored, page.hits)
        marked = highlights(asked.query, [hit.text for hit in page.hits])
        parts = [f'"count":{count}', f'"highlights":{orjson.dumps(marked).decode()}']
        parts.append(f'"results":{answer.results(request.context)}')
        if request.groupings:
            next_batches = _group_batches(request, page, more)
            parts.append(f'"groups":{answer.groups(request.groupings, next_batches)}')
        if request.include_state:
            parts.append(f'"state":{answer.states(lazy=request.filter.lazy_load_members)}')
        if more is not None:
            own_group = None if asked.came_from is None else asked.came_from.group
            parts.append(f'"next_batch":"{replace(more, group=own_group)}"')
        if found.more and (page.hits or sure):
            parts.append(f'"io.parley.newest_matches":{sure + doubtful}')
        return f'{{"search_categories":{{"room_events":{{{",".join(parts)}}}}}}}'.encode()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is looked for on this page. `filter`: narrowed to the group whose next page it is."""

    query: Query
    filter: EventFilter
    came_from: Continuation | None


def _in_order(matches: list[Match], came_from: Continuation | None, *, by_rank: bool) -> list[Match]:
    """The matches as they are to be shown, without those that earlier pages had."""
    if not by_rank:
        return matches
    matches = sorted(matches, key=_merit, reverse=True)
    if came_from is not None:
        last = (came_from.score, came_from.last.anchor, came_from.last.rank)
        matches = [match for match in matches if _merit(match) < last]
    return matches


def _merit(match: Match) -> tuple[int, int, int]:
    return match.score, match.anchor, match.rank


def _continuation(request: SearchRequest, found: Found, page: Page, top: Place, count: int) -> Continuation | None:
    """Where the next page begins; None if this was the last one."""
    last = page.last
    if last is not None:
        below = top if request.by_rank else last.place
        return Continuation(request.by_rank, below, last.score, last.place, count)
    if not found.more:
        return None
    # The next ones are ordered among themselves.
    highest = 2**31 - 1
    return Continuation(request.by_rank, found.bottom, highest, found.bottom, count)


def _group_batches(request: SearchRequest, page: Page, more: Continuation | None) -> dict[tuple[str, str], str]:
    """By group of a page: where the rest of the group begins."""
    if more is None:
        return {}
    groups = {(kind, group_of(hit, kind)) for kind in request.groupings for hit in page.hits}
    return {group: str(replace(more, group=group)) for group in groups}
