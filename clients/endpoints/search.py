"""Searching what was said, and what rooms are called.

https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from collections.abc import Mapping
from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.parameters import integer, json_list, json_object
from homeserver.domain.errors import BadRequest
from homeserver.domain.filters import parse_event_filter
from homeserver.domain.search_text import KEYS, Key
from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.search.request import GROUPINGS, ContextRequest, SearchRequest
from homeserver.services.search.search import Search as Searching

ORDERS = ("rank", "recent")
MAX_LIST = 100


class Search:
    def __init__(self, search: Searching) -> None:
        self._search = search

    def routes(self, door: Door) -> list[Route]:
        return [door.user("POST", "/_matrix/client/v3/search", self.search, limit="search")]

    async def search(self, request: Request, requester: Requester) -> Result:
        body = await request.json_object()
        if body.get("search_categories") is None:
            raise BadRequest("search_categories is missing", "M_MISSING_PARAM")
        categories = json_object(body, "search_categories")
        if categories.get("room_events") is None:
            return {"search_categories": {}}
        wanted = parse_room_events(json_object(categories, "room_events"))
        token = request.text("next_batch")
        return Answer(body=await self._search.find(requester.user_id, requester.device_id, wanted, token or None))


def parse_room_events(criteria: Mapping[str, Any]) -> SearchRequest:
    """Raises BadRequest."""
    order = text(criteria, "order_by") or "rank"
    if order not in ORDERS:
        raise BadRequest("order_by must be 'rank' or 'recent'")
    return SearchRequest(
        term=required_text(criteria, "search_term"),
        keys=_keys(criteria),
        filter=parse_event_filter(criteria.get("filter"), "filter"),
        by_rank=order == "rank",
        context=_context(criteria),
        include_state=flag(criteria, "include_state", False),
        groupings=_groupings(criteria),
    )


def _keys(criteria: Mapping[str, Any]) -> tuple[Key, ...]:
    """ "The keys to search. Defaults to all." """
    if criteria.get("keys") is None:
        return tuple(Key)
    names = json_list(criteria, "keys", MAX_LIST)
    if not all(isinstance(name, str) and name in KEYS for name in names):
        raise BadRequest(f"keys must be some of {', '.join(KEYS)}")
    return tuple({KEYS[name] for name in names})


def _context(criteria: Mapping[str, Any]) -> ContextRequest | None:
    if criteria.get("event_context") is None:
        return None
    wanted = json_object(criteria, "event_context")
    usual = ContextRequest()
    return ContextRequest(
        before=integer(wanted, "before_limit", usual.before),
        after=integer(wanted, "after_limit", usual.after),
        include_profile=flag(wanted, "include_profile", usual.include_profile),
    )


def _groupings(criteria: Mapping[str, Any]) -> tuple[str, ...]:
    groups = json_list(json_object(criteria, "groupings"), "group_by", MAX_LIST)
    if not all(isinstance(group, dict) and group.get("key") in GROUPINGS for group in groups):
        raise BadRequest(f"group_by must be a list of objects whose key is {' or '.join(GROUPINGS)}")
    return tuple(dict.fromkeys(group["key"] for group in groups))
