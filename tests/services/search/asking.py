"""Asking search, and asking a plain scan of everything for comparison."""

import unicodedata
from typing import Any

import orjson

from homeserver.domain.filters import EventFilter
from homeserver.services.rooms.pages import PageRequest
from homeserver.services.search.request import SearchRequest
from tests.services.rooms.scene import Scene

DEVICE = "DEVICE"


async def ask(scene: Scene, user_id: str, term: str, token: str | None = None, **wanted: Any) -> dict[str, Any]:
    """`room_events` of the answer; newest first unless `by_rank`."""
    request = SearchRequest(term, **{"by_rank": False, **wanted})
    answer = await scene.services.search.find(user_id, DEVICE, request, token)
    found: dict[str, Any] = orjson.loads(answer)["search_categories"]["room_events"]
    return found


async def ask_all(scene: Scene, user_id: str, term: str, limit: int = 100, **wanted: Any) -> list[str]:
    """The events of all pages, in order."""
    filter = wanted.pop("filter", EventFilter(limit=limit))
    found = await ask(scene, user_id, term, filter=filter, **wanted)
    told = event_ids(found)
    while "next_batch" in found:
        found = await ask(scene, user_id, term, found["next_batch"], filter=filter, **wanted)
        told += event_ids(found)
    return told


def event_ids(found: dict[str, Any]) -> list[str]:
    return [result["result"]["event_id"] for result in found["results"]]


async def visible(scene: Scene, user_id: str, room_id: str) -> list[str]:
    """What a user may read of a room, newest first: by the pages of its history."""
    told: list[str] = []
    start: str | None = None
    while True:
        request = PageRequest(room_id, start, None, backwards=True, limit=1_000, filter=EventFilter())
        page = orjson.loads(await scene.services.history.page(user_id, DEVICE, request))
        told += [event["event_id"] for event in page["chunk"]]
        start = page.get("end")
        if start is None:
            return told


def folded(text: str) -> str:
    """How a scan compares texts."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
