"""What is not kept as events: receipts and typing, as the ephemeral events of a room."""

from collections.abc import Iterable

import orjson

from homeserver.storage.receipts import ReceiptRow


def receipts_event(rows: Iterable[ReceiptRow]) -> str | None:
    """One m.receipt for all of these receipts, as JSON; None if there are none."""
    content: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    for row in rows:
        data: dict[str, object] = {"ts": row.ts}
        if row.thread_id:
            data["thread_id"] = row.thread_id
        content.setdefault(row.event_id, {}).setdefault(row.type, {})[row.user_id] = data
    return orjson.dumps({"type": "m.receipt", "content": content}).decode() if content else None


def typing_event(user_ids: Iterable[str]) -> str:
    return orjson.dumps({"type": "m.typing", "content": {"user_ids": list(user_ids)}}).decode()
