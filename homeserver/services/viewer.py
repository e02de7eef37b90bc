"""Who looks at events, and which of them they want to see: their filter, and whom they ignore."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from homeserver.domain.filters import EventFilter
from homeserver.storage.events import EventRow, parse_members


@dataclass(frozen=True, slots=True)
class Viewer:
    user_id: str
    ignored: frozenset[str]
    filter: EventFilter


def wanted_events(rows: Iterable[EventRow], viewer: Viewer, room_id: str) -> Iterable[EventRow]:
    """Without what the filter keeps back, and without messages of ignored senders."""
    everything = viewer.filter.is_everything
    for row in rows:
        if row.state_key is None and row.sender in viewer.ignored and row.sender != viewer.user_id:
            continue
        if everything or viewer.filter.matches(row.type, row.sender, room_id, _content(row)):
            yield row


def _content(row: EventRow) -> Mapping[str, object]:
    content: dict[str, object] = parse_members(row.client)["content"]
    return content


def ignored_users(content: str | None) -> frozenset[str]:
    """From the content of m.ignored_user_list."""
    users = {} if content is None else orjson.loads(content).get("ignored_users")
    return frozenset(users) if isinstance(users, dict) else frozenset()
