"""What is not kept as events: receipts and typing, as the ephemeral events of a room."""

from collections.abc import Iterable

import orjson

from homeserver.storage.receipts import ReceiptRow


def receipts_events(rows: Iterable[ReceiptRow]) -> list[str]:
    """One m.receipt for all of these receipts, as JSON; more if a user has receipts of several threads at one event,
    for which one has no room."""
    contents: list[dict[str, dict[str, dict[str, dict[str, object]]]]] = []
    for row in rows:
        data: dict[str, object] = {"ts": row.ts}
        if row.thread_id:
            data["thread_id"] = row.thread_id
        for content in contents:
            users = content.setdefault(row.event_id, {}).setdefault(row.type, {})
            if users.setdefault(row.user_id, data) is data:
                break
        else:
            contents.append({row.event_id: {row.type: {row.user_id: data}}})
    return [orjson.dumps({"type": "m.receipt", "content": content}).decode() for content in contents]


def typing_event(user_ids: Iterable[str]) -> str:
    return orjson.dumps({"type": "m.typing", "content": {"user_ids": list(user_ids)}}).decode()
