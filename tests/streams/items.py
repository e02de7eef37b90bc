"""Publications for tests of the streams."""

from homeserver.streams.publications import EventItem, Publication, TypingItem


def event_item(event_id: str = "$e", *, client: str = "", redacted: tuple[str, str] | None = None) -> EventItem:
    return EventItem(
        room=1, room_id="!r", number=1, event_id=event_id, sender="@a:x", type="m.room.message", state_key=None,
        membership=None, origin_server_ts=0, client=client, unsigned="", device_id=None, txn_id=None, classes={},
        named={}, thread_root=None, relates=False, for_all_joined=True, is_current=False, gap_before=False,
        summary=None, redacted=redacted,
    )  # fmt: skip


def event_at(position: int, *keys: str, redacted: tuple[str, str] | None = None, client: str = "") -> Publication:
    return Publication(position, keys or ("r1",), event_item(f"${position}", redacted=redacted, client=client))


def typing_at(position: int, *keys: str) -> Publication:
    return Publication(position, keys or ("r1",), TypingItem(1, "!r", ()))
