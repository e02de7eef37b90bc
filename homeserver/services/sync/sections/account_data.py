"""Account data, global and of rooms, as events; the push rules are always whole."""

from collections.abc import Iterable
from typing import Any

import orjson

from homeserver.domain.filters import EventFilter
from homeserver.services.client_form import quote


def account_data_event(type: str, content: str | None) -> str:
    """`content`: JSON object; what was deleted is told as an empty one."""
    return f'{{"type":{quote(type)},"content":{content or "{}"}}}'


def push_rules_event(rules: dict[str, Any]) -> str:
    return orjson.dumps({"type": "m.push_rules", "content": rules}).decode()


def wanted_data(
    rows: Iterable[tuple[str, str | None]], filter: EventFilter, user_id: str, room_id: str | None, *, first: bool
) -> list[str]:
    """The events that the filter wants. A first sync tells nothing of what was deleted."""
    chosen: list[str] = []
    for type, content in rows:
        if first and content is None:
            continue
        if filter.is_everything or filter.matches(type, user_id, room_id, orjson.loads(content or "{}")):
            chosen.append(account_data_event(type, content))
    return chosen
